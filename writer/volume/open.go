package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUnusable is wrapped by errors that persist until someone changes the volume or
// the Pod's spec.
var ErrUnusable = errors.New("the volume cannot be used")

// Open opens and locks the volume that is mounted at dir. Its errors wrap
// ErrUnusable, or ctx's error if ctx ends first.
func Open(ctx context.Context, dir string) (Volume, error) {
	m, err := openMount(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Volume{}, fmt.Errorf("%w: no directory %q; mount the volume there, or set SECRETSYNC_DIR", ErrUnusable, dir)
	case errors.Is(err, syscall.ENOTDIR):
		return Volume{}, fmt.Errorf("%w: %q is not a directory; set SECRETSYNC_DIR to the mount path of a volume", ErrUnusable, dir)
	case err != nil:
		return Volume{}, fmt.Errorf("%w: open %q as UID %d: %w", ErrUnusable, dir, os.Geteuid(), err)
	}
	if err := m.claim(ctx, dir); err != nil {
		return Volume{}, errors.Join(err, m.Close())
	}
	return Volume{m}, nil
}

// OpenUnlocked opens a volume without its lock, for reading only.
func OpenUnlocked(dir string) (Volume, error) {
	m, err := openMount(dir)
	if err != nil {
		return Volume{}, err
	}
	return Volume{m}, nil
}

func openMount(dir string) (*mount, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &mount{f}, nil
}

// claim checks that this process may write, and locks the volume. The kernel
// releases the lock with the last descriptor, so no crash can leave it behind.
func (m *mount) claim(ctx context.Context, dir string) error {
	if err := unix.Faccessat(m.root(), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%w: %q is not writable for UID %d, GID %d (%w): %s", ErrUnusable, dir, os.Geteuid(), os.Getegid(), err, m.owner())
	}
	err := m.lock(ctx)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: another process has locked %q; only one secret-sync may write to a volume", ErrUnusable, dir)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: lock %q: %w", ErrUnusable, dir, err)
	}
	return err
}

const lockPatience = time.Second

// lock retries for a moment: if the previous process was killed while it started a
// command, the child holds the descriptor until it executes its program.
func (m *mount) lock(ctx context.Context) error {
	retry := time.NewTicker(lockPatience / 50)
	defer retry.Stop()
	for deadline := time.Now().Add(lockPatience); ; {
		err := unix.Flock(m.root(), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
	}
}

// owner describes the owner of the volume and the remedy.
func (m *mount) owner() string {
	info, err := m.dir.Stat()
	if err != nil {
		return err.Error()
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("it belongs to UID %d, GID %d with mode %04o; mount it without readOnly here, and set fsGroup or runAsUser", st.Uid, st.Gid, st.Mode&0o7777)
}
