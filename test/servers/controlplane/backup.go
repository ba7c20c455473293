package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Backup stops both servers, copies what etcd keeps, and starts them again. It
// gives the folder of the copy, which goes with the control plane.
func (cp *ControlPlane) Backup(ctx context.Context) (string, error) {
	copied := filepath.Join(cp.dir, "backup")
	return copied, cp.whileStopped(ctx, func() error {
		return os.CopyFS(copied, os.DirFS(cp.data()))
	})
}

// Restore stops both servers, puts a backup, which it uses up, in the place of what etcd
// keeps, and starts them again: all versions go back to what they were.
func (cp *ControlPlane) Restore(ctx context.Context, backup string) error {
	return cp.whileStopped(ctx, func() error {
		if err := os.RemoveAll(cp.data()); err != nil {
			return err
		}
		return os.Rename(backup, cp.data())
	})
}

// data is the folder that etcd keeps everything in.
func (cp *ControlPlane) data() string { return filepath.Join(cp.dir, "etcd") }

func (cp *ControlPlane) whileStopped(ctx context.Context, change func() error) error {
	cp.api.stop()
	cp.etcd.stop()
	if err := change(); err != nil {
		return fmt.Errorf("change what etcd keeps: %w", err)
	}
	if err := cp.etcd.start(); err != nil {
		return err
	}
	return cp.StartAPIServer(ctx)
}
