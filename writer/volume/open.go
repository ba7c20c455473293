package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/wake"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// ErrUnusable is wrapped by errors that end the process. Most need a change of the volume or of the Pod's spec.
var ErrUnusable = errors.New("the volume cannot be used")

// Open opens and locks the volume mounted at dir. Its errors wrap ErrUnusable, or ctx's error if ctx ends first.
func Open(ctx context.Context, dir string) (Volume, error) {
	m, err := openMount(dir)
	if err != nil {
		return Volume{}, fmt.Errorf("%w: %w; mount the volume there, or set SECRETSYNC_DIR", ErrUnusable, err)
	}
	if err := m.claim(ctx); err != nil {
		return Volume{}, errors.Join(err, m.Close())
	}
	return Volume{m}, nil
}

// Read calls read with the volume at dir, without its lock. Another process may own the volume.
func Read(dir string, read func(Volume) error) error {
	m, err := openMount(dir)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	if err := read(Volume{m}); err != nil {
		return fmt.Errorf("read %q: %w", dir, err)
	}
	return nil
}

func openMount(dir string) (*mount, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the volume as UID %d: %w", os.Geteuid(), err)
	}
	return &mount{dir: f, openat2: unix.Openat2, fchmodat: unix.Fchmodat}, nil
}

// claim checks for write access, and locks the volume. The kernel releases the lock
// with the last descriptor, so no crash can leave it behind.
func (m *mount) claim(ctx context.Context) error {
	if err := unix.Faccessat(int(m.dir.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		var st unix.Stat_t
		_ = unix.Fstat(int(m.dir.Fd()), &st)
		return fmt.Errorf("%w: %q is not writable for UID %d, GID %d (%w): it belongs to UID %d, "+
			"GID %d with mode %04o; mount it without readOnly here, and set fsGroup or runAsUser",
			ErrUnusable, m.dir.Name(), os.Geteuid(), os.Getegid(), err, st.Uid, st.Gid, st.Mode&0o7777)
	}
	err := m.openLock()
	if err == nil {
		err = lock(ctx, m.lock)
	}
	switch {
	case err == nil:
		return m.awaitLeases(ctx)
	case ctx.Err() != nil:
		return err
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("%w: another process has locked %q; only one secret-sync may write to a volume",
			ErrUnusable, m.dir.Name())
	}
	return fmt.Errorf("%w: lock %q: %w", ErrUnusable, m.dir.Name(), err)
}

// leasePatience exceeds the time after which the kernel ends a lease (/proc/sys/fs/lease-break-time), 45 s by default.
const leasePatience = time.Minute

// awaitLeases waits until this process can open every record, for at most leasePatience, or until ctx ends. An app with
// the UID of a record can hold a lease on it (F_SETLEASE), also through a read-only mount. open(2) with O_NONBLOCK then
// fails with EAGAIN, and makes the kernel end the lease later. A start without its records would notify all targets
// again. A comparison treats the file as unknown, and never replaces it: the app could hold a lease on the next file.
func (m *mount) awaitLeases(ctx context.Context) error {
	for deadline := time.Now().Add(leasePatience); ; wake.Sleep(ctx, leasePatience/600) {
		leased := false
		for e, err := range m.ReadDir(".") { // open all of them: their leases end at the same time
			if err != nil || !generation.IsOwn(e.Name()) || !e.Type().IsRegular() {
				continue
			}
			f, err := m.openFile(e.Name(), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
			leased = leased || errors.Is(err, unix.EAGAIN)
			_ = f.Close() // fails without a file
		}
		if !leased || ctx.Err() != nil || time.Now().After(deadline) {
			return ctx.Err()
		}
	}
}

const lockPatience, lockMode = time.Second, 0o222

// openLock opens the lock file. Its mode is 0222: no app can open it for reading, so no app with a read-only mount can
// lock it. Every UID can open it for writing, so writers with different UIDs lock the same file, such as a root init
// container and its sidecar: with mode 0200 the second could not start, or would have to replace a locked file.
// openLock replaces an entry that is readable or no file, which an app may have created to lock it. If the volume has
// no space for the file, the lock is on the volume's directory.
func (m *mount) openLock() error {
	const flags = unix.O_WRONLY | unix.O_NONBLOCK
	err := Volume{m}.clearing(generation.LockFile, func() (err error) {
		m.lock, err = m.openFile(generation.LockFile, flags, 0)
		if errors.Is(err, unix.ENOENT) { // with O_CREAT, a sticky volume rejects the file of another UID
			m.lock, err = m.openFile(generation.LockFile, flags|unix.O_CREAT, lockMode)
		}
		if err != nil {
			return err
		}
		info, err := m.lock.Stat()
		if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o444 != 0) {
			err = errors.Join(fs.ErrExist, m.lock.Close())
		}
		return err
	})
	switch {
	case NoSpace(err):
		m.lock = m.dir
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; delete this file, which has another UID or mode", err)
	case err == nil:
		_ = m.lock.Chmod(lockMode) // the umask may have reduced it; only the owner can
	default:
		return err
	}
	return nil
}

// lock locks a file. It retries for a moment: if the previous process was killed while
// it started a command, the child holds the descriptor until it executes its program.
func lock(ctx context.Context, f *os.File) error {
	for deadline := time.Now().Add(lockPatience); ; wake.Sleep(ctx, lockPatience/50) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
