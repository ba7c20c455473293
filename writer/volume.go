package writer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// volume is every system call that the writer makes on the volume, one method a
// call, and the only way it has to touch it: tests fail, cut off and record
// each of them. Names are relative to the volume's mount.
type volume interface {
	// These change something.
	Mkdir(name string, mode fs.FileMode) error          // less what the umask takes
	Create(name string, mode fs.FileMode) (file, error) // a new file, only ever a new one; less the umask, too
	Chmod(name string, mode fs.FileMode) error
	Symlink(target, name string) error
	Rename(from, to string) error
	Remove(name string) error // a file, a link, an empty directory
	SyncDir(name string) error
	Wake(name string) error // chmod of a file to the mode it has, for who watches it

	// These look. Hold opens a directory until release: what lies directly in it
	// is then reached through its handle, without a walk from DIR for each call.
	Hold(name string) (release func(), held bool)
	Lstat(name string) (fs.FileInfo, error)
	Readlink(name string) (string, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	ReadFile(name string) ([]byte, error) // a regular file of up to maxFile bytes
	Free() (bytes, inodes uint64, err error)

	Close() error
}

// file is a file that is being made.
type file interface {
	Write([]byte) (int, error)
	Chmod(fs.FileMode) error // or nothing, if that is its mode
	Sync() error
	Close() error
}

// maxFile is more than a Secret can hold (1 MiB): a larger file is not ours,
// and is not read into memory.
const maxFile = 4 << 20

// rootVolume is the volume on the kernel's file system. os.Root resolves each
// name below the volume's mount and refuses every way out of it, whatever links
// an app plants there; links that stay inside are followed by it, which is why
// callers look with Lstat before they trust a directory. What lies directly in
// an open directory is reached by one name without a slash, following no link
// (held.go).
type rootVolume struct {
	root *os.Root
	dir  *os.File       // DIR itself: it carries the lock
	held map[string]int // descriptors of open directories
	// memory: on tmpfs, where the kernel's fsync does nothing, none is called.
	memory bool
}

// openVolume opens and locks the volume that is mounted at dir.
func openVolume(dir string) (*rootVolume, error) {
	root, err := os.OpenRoot(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no directory %q: mount the volume there, or set SECRETSYNC_DIR", ErrUnusable, dir)
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w: %q is not a directory: SECRETSYNC_DIR is the mount of a volume", ErrUnusable, dir)
	case err != nil:
		return nil, fmt.Errorf("%w: open %q as UID %d: %w", ErrUnusable, dir, os.Geteuid(), err)
	}
	f, err := root.Open(".")
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("%w: open %q as UID %d: %w", ErrUnusable, dir, os.Geteuid(), err)
	}
	v := &rootVolume{root: root, dir: f, memory: onMemory(int(f.Fd())), held: map[string]int{}}
	if err := v.claim(dir); err != nil {
		_ = v.Close()
		return nil, err
	}
	return v, nil
}

// claim makes sure that this process may write and is the only one that does.
// The kernel drops the lock with the last descriptor: no crash leaves it.
func (v *rootVolume) claim(dir string) error {
	if err := unix.Faccessat(int(v.dir.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%w: %q is not writable for UID %d, GID %d (%w): %s", ErrUnusable, dir, os.Geteuid(), os.Getegid(), err, v.owner())
	}
	err := v.lock()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: another process has locked %q: a volume has one secret-sync that writes it", ErrUnusable, dir)
	}
	if err != nil {
		return fmt.Errorf("%w: lock %q: %w", ErrUnusable, dir, err)
	}
	return nil
}

// onMemory tells whether an open directory is on tmpfs.
func onMemory(dir int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC
}

// lock waits for a moment: a command that was being started when the process
// before us was killed has the descriptor until it runs its program.
func (v *rootVolume) lock() (err error) {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 50) {
		err = unix.Flock(int(v.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

const lockPatience = time.Second

func (v *rootVolume) owner() string {
	info, err := v.dir.Stat()
	if err != nil {
		return err.Error()
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("it belongs to UID %d, GID %d with mode %04o; mount it without readOnly here, and set fsGroup or runAsUser", st.Uid, st.Gid, st.Mode&0o7777)
}

func (v *rootVolume) Chmod(name string, mode fs.FileMode) error { return v.root.Chmod(name, mode) }
func (v *rootVolume) Lstat(name string) (fs.FileInfo, error)    { return v.root.Lstat(name) }
func (v *rootVolume) Readlink(name string) (string, error)      { return v.root.Readlink(name) }

// open opens name for reading, and only if it is of the wanted type: no link is
// followed at its end, and a FIFO does not block.
func (v *rootVolume) open(name string, want fs.FileMode) (*os.File, error) {
	before, err := v.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if before.Mode().Type() != want {
		return nil, fmt.Errorf("open %s: is a %s: %w", name, before.Mode().Type(), errType)
	}
	f, err := v.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		_ = f.Close()
		return nil, fmt.Errorf("open %s: replaced while it was opened: %w", name, errType)
	}
	return f, nil
}

// errType says that a name is taken by something of another kind.
var errType = errors.New("not of the expected type")

func (v *rootVolume) ReadFile(name string) ([]byte, error) {
	f, err := v.open(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("read %s: larger than a Secret: %w", name, errType)
	}
	return data, err
}

func (v *rootVolume) Free() (bytes, inodes uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(v.dir.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Ffree, nil
}

func (v *rootVolume) Close() error { return errors.Join(v.root.Close(), v.dir.Close()) }
