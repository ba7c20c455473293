package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Backup stops both servers, copies the data of etcd, and starts the servers again. It
// returns the directory of the copy, which Close removes.
func (cp *ControlPlane) Backup(ctx context.Context) (string, error) {
	copied := filepath.Join(cp.dir, "backup")
	return copied, cp.whileStopped(ctx, func() error {
		return os.CopyFS(copied, os.DirFS(cp.data()))
	})
}

// Restore stops both servers, replaces the data of etcd with a backup, and starts the
// servers again. All resource versions go back to the time of the backup. The backup
// can be used once.
func (cp *ControlPlane) Restore(ctx context.Context, backup string) error {
	return cp.whileStopped(ctx, func() error {
		if err := os.RemoveAll(cp.data()); err != nil {
			return err
		}
		return os.Rename(backup, cp.data())
	})
}

// data returns the data directory of etcd.
func (cp *ControlPlane) data() string { return filepath.Join(cp.dir, "etcd") }

func (cp *ControlPlane) whileStopped(ctx context.Context, change func() error) error {
	cp.api.stop()
	cp.etcd.stop()
	if err := change(); err != nil {
		return fmt.Errorf("change the data of etcd: %w", err)
	}
	if err := cp.etcd.start(); err != nil {
		return err
	}
	return cp.StartAPIServer(ctx)
}
