package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUnusable is in the errors that only a change from outside can end: of the
// volume, or of the Pod's spec.
var ErrUnusable = errors.New("the volume cannot be used")

// Open opens and locks the volume that is mounted at dir. Its errors wrap
// ErrUnusable.
func Open(dir string) (Volume, error) {
	m, err := Look(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no directory %q: mount the volume there, or set SECRETSYNC_DIR", ErrUnusable, dir)
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w: %q is not a directory: SECRETSYNC_DIR is the mount of a volume", ErrUnusable, dir)
	case err != nil:
		return nil, fmt.Errorf("%w: open %q as UID %d: %w", ErrUnusable, dir, os.Geteuid(), err)
	}
	if err := m.claim(dir); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Look opens the volume without its lock, for those who only read.
func Look(dir string) (*Mount, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Mount{dir: f, held: map[string]int{".": int(f.Fd())}}, nil
}

// claim makes sure that this process may write and is the only one that does.
// The kernel drops the lock with the last descriptor: no crash leaves it.
func (m *Mount) claim(dir string) error {
	if err := unix.Faccessat(int(m.dir.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%w: %q is not writable for UID %d, GID %d (%w): %s", ErrUnusable, dir, os.Geteuid(), os.Getegid(), err, m.owner())
	}
	err := m.lock()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: another process has locked %q: a volume has one secret-sync that writes it", ErrUnusable, dir)
	}
	if err != nil {
		return fmt.Errorf("%w: lock %q: %w", ErrUnusable, dir, err)
	}
	return nil
}

const lockPatience = time.Second

// lock waits for a moment: a command that was being started when the previous
// process was killed has the descriptor until it runs its program.
func (m *Mount) lock() (err error) {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 50) {
		err = unix.Flock(int(m.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

func (m *Mount) owner() string {
	info, err := m.dir.Stat()
	if err != nil {
		return err.Error()
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("it belongs to UID %d, GID %d with mode %04o; mount it without readOnly here, and set fsGroup or runAsUser", st.Uid, st.Gid, st.Mode&0o7777)
}
