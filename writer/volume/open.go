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

	"github.com/secret-sync/secret-sync/writer/generation"
)

// ErrUnusable is wrapped by permanent errors. Someone must change the volume or the
// Pod's spec.
var ErrUnusable = errors.New("the volume cannot be used")

// Open opens and locks the volume mounted at dir. Its errors wrap ErrUnusable, or
// ctx's error if ctx ends first.
func Open(ctx context.Context, dir string) (Volume, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Volume{}, fmt.Errorf("%w: no directory %q; mount the volume there, or set SECRETSYNC_DIR", ErrUnusable, dir)
	case errors.Is(err, syscall.ENOTDIR):
		return Volume{}, fmt.Errorf("%w: %q is not a directory; set SECRETSYNC_DIR to the mount path of a volume",
			ErrUnusable, dir)
	case err != nil:
		return Volume{}, fmt.Errorf("%w: open %q as UID %d: %w", ErrUnusable, dir, os.Geteuid(), err)
	}
	m := &mount{dir: f}
	if err := m.claim(ctx); err != nil {
		return Volume{}, errors.Join(err, m.Close())
	}
	return Volume{m}, nil
}

// OpenUnlocked opens a volume without its lock, for reading only.
func OpenUnlocked(dir string) (Volume, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return Volume{}, fmt.Errorf("open the volume: %w", err)
	}
	return Volume{&mount{dir: f}}, nil
}

// claim checks for write access, and locks the volume. The kernel releases the lock
// with the last descriptor, so no crash can leave it behind.
func (m *mount) claim(ctx context.Context) error {
	if err := unix.Faccessat(m.root(), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%w: %q is not writable for UID %d, GID %d (%w): %s", ErrUnusable, m.dir.Name(), os.Geteuid(),
			os.Getegid(), err, m.owner())
	}
	m.openLock()
	err := lock(ctx, m.lock)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: another process has locked %q; only one secret-sync may write to a volume", ErrUnusable,
			m.dir.Name())
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: lock %q: %w", ErrUnusable, m.dir.Name(), err)
	}
	return err
}

const lockPatience = time.Second

// openLock opens the lock file. Only its owner can open it, and only for writing, so
// no app with a read-only mount can lock it. If another UID owns the file, or the
// volume has no space for it, the lock is on the volume's directory.
func (m *mount) openLock() {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_NONBLOCK
	f, err := m.openFile(generation.LockFile, flags, 0o200)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENXIO) { // someone planted it
		_ = Volume{m}.RemoveAll(generation.LockFile)
		f, err = m.openFile(generation.LockFile, flags, 0o200)
	}
	if m.lock = f; err != nil {
		m.lock = m.dir
	} else if info, err := f.Stat(); err == nil && info.Mode().Perm() != 0o200 {
		_ = f.Chmod(0o200)
	}
}

// lock locks a file. It retries for a moment: if the previous process was killed while
// it started a command, the child holds the descriptor until it executes its program.
func lock(ctx context.Context, f *os.File) error {
	retry := time.NewTicker(lockPatience / 50)
	defer retry.Stop()
	for deadline := time.Now().Add(lockPatience); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
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
	return fmt.Sprintf("it belongs to UID %d, GID %d with mode %04o; mount it without readOnly here, and set fsGroup or runAsUser",
		st.Uid, st.Gid, st.Mode&0o7777)
}
