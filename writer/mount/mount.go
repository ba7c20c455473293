// Package mount makes the system calls on the volume, one method a call. It
// promises that no call leaves the volume or blocks, whatever links and pipes an
// app plants there, and that one process at a time has the volume. It knows
// directories, files and links, and must not know what a generation is.
package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Volume is the only way in which the writer touches the volume. Tests put
// their own in its place, which fails, cuts off and records each call. Names are
// relative to the volume's mount.
type Volume interface {
	// These change something.
	Mkdir(name string, mode fs.FileMode) error          // less what the umask takes
	Create(name string, mode fs.FileMode) (File, error) // fails where there is something; less the umask, too
	Chmod(name string, mode fs.FileMode) error
	Symlink(target, name string) error
	Rename(from, to string) error // inside one directory
	Remove(name string) error     // a file, a link, an empty directory
	SyncDir(name string) error

	// These look. Hold keeps a directory open until release: what lies directly
	// in it is reached through its handle, without a walk from the mount for each
	// call, which takes a quarter of a publish.
	Hold(name string) (release func(), err error)
	Lstat(name string) (Info, error)
	Readlink(name string) (string, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	ReadFile(name string) ([]byte, error) // a regular file of up to maxFile bytes
	Free() (bytes, inodes uint64, err error)

	Close() error
}

// File is a file that is being made.
type File interface {
	Write([]byte) (int, error)
	Mode() (fs.FileMode, error)
	Chmod(fs.FileMode) error
	Sync() error
	Close() error
}

// maxFile is more than a Secret can have (1 MiB): a larger file is not ours, and
// is not read into memory.
const maxFile = 4 << 20

// errType is the error for a name that has something of another kind.
var errType = errors.New("not of the expected type")

// Mount is the volume on the kernel's file system. A call is made in the open
// directory that the name lies in, with a name that has no slash and that no
// call follows if it is a link. os.Root finds that directory: it refuses every
// way out of the volume.
type Mount struct {
	root *os.Root
	dir  *os.File       // the mount itself: it carries the lock
	held map[string]int // descriptors of open directories
}

// Hold opens a directory, and no link to one.
func (m *Mount) Hold(name string) (release func(), err error) {
	if _, ok := m.held[name]; ok {
		return func() {}, nil
	}
	fd, err := m.openDir(name)
	if err != nil {
		return nil, err
	}
	m.held[name] = fd
	return func() {
		delete(m.held, name)
		_ = unix.Close(fd)
	}, nil
}

// openDir opens a directory anew, and no link to one.
func (m *Mount) openDir(name string) (fd int, err error) {
	err = m.at("openat", name, func(dir int, base string) (err error) {
		fd, err = unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// at makes a call in the directory that name lies in, again if a signal
// interrupts it.
func (m *Mount) at(op, name string, call func(dir int, base string) error) error {
	dir, base := split(name)
	fd, held := m.held[dir]
	if !held {
		f, err := m.open(dir, fs.ModeDir)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		fd = int(f.Fd())
	}
	for {
		switch err := call(fd, base); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
}

// split is path.Dir and path.Base of a clean name, without making it clean again.
func split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return ".", name
	}
	return name[:i], name[i+1:]
}

// Mkdir makes a directory.
func (m *Mount) Mkdir(name string, mode fs.FileMode) error {
	return m.at("mkdirat", name, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, uint32(mode.Perm()))
	})
}

// Create makes a file. O_EXCL follows no link and opens nothing that is there.
func (m *Mount) Create(name string, mode fs.FileMode) (File, error) {
	fd := -1
	err := m.at("openat", name, func(dir int, base string) (err error) {
		fd, err = unix.Openat(dir, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, uint32(mode.Perm()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &file{fd, name}, nil
}

// Chmod sets the mode of a file or a directory. A kernel before 6.6 cannot do
// that without following a link, but os.Root can, in more steps.
func (m *Mount) Chmod(name string, mode fs.FileMode) error {
	err := m.at("fchmodat", name, func(dir int, base string) error {
		return unix.Fchmodat(dir, base, permissions(mode), unix.AT_SYMLINK_NOFOLLOW)
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return m.root.Chmod(name, mode)
	}
	return err
}

// Symlink makes a link.
func (m *Mount) Symlink(target, name string) error {
	return m.at("symlinkat", name, func(dir int, base string) error {
		return unix.Symlinkat(target, dir, base)
	})
}

// Rename puts from in the place of to, in the same directory.
func (m *Mount) Rename(from, to string) error {
	return m.at("renameat", from, func(dir int, base string) error {
		return unix.Renameat(dir, base, dir, path.Base(to))
	})
}

// Remove removes a file, a link or an empty directory, and follows no link. What
// is held is a directory: that saves a call.
func (m *Mount) Remove(name string) error {
	_, isDir := m.held[name]
	return m.at("unlinkat", name, func(dir int, base string) error {
		if isDir {
			return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR || err == unix.EPERM { // of Linux, of POSIX
			if e := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); e != unix.ENOTDIR {
				err = e
			}
		}
		return err
	})
}

// SyncDir syncs the entries of a directory. A file system that cannot do that
// has nothing to wait for.
func (m *Mount) SyncDir(name string) error {
	release, err := m.Hold(name)
	if err != nil {
		return err
	}
	defer release()
	err = ignoreEINTR(func() error { return unix.Fsync(m.held[name]) })
	if err != nil && err != unix.EINVAL {
		return &fs.PathError{Op: "fsync", Path: name, Err: err}
	}
	return nil
}

func ignoreEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Lstat looks at an entry, and follows no link.
func (m *Mount) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	err := m.at("fstatat", name, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return info(&st), err
}

// Readlink gives a link's target.
func (m *Mount) Readlink(name string) (string, error) {
	return m.root.Readlink(name)
}

// ReadDir lists a directory.
func (m *Mount) ReadDir(name string) ([]fs.DirEntry, error) {
	fd, err := m.openDir(name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	return f.ReadDir(-1)
}

// ReadFile reads a regular file.
func (m *Mount) ReadFile(name string) ([]byte, error) {
	f, err := m.open(name, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("read %s: larger than a Secret: %w", name, errType)
	}
	return data, err
}

// open opens an entry for reading if it is of the wanted type. It follows no
// link at the name's end, and a FIFO does not block it.
func (m *Mount) open(name string, want fs.FileMode) (*os.File, error) {
	before, err := m.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if before.Mode().Type() != want {
		return nil, fmt.Errorf("open %s: is a %s: %w", name, before.Mode().Type(), errType)
	}
	f, err := m.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		_ = f.Close()
		return nil, fmt.Errorf("open %s: replaced while it was opened: %w", name, errType)
	}
	return f, nil
}

// Free tells what is left on the volume.
func (m *Mount) Free() (bytes, inodes uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(m.dir.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Ffree, nil
}

// Close gives up the lock with the mount.
func (m *Mount) Close() error { return errors.Join(m.root.Close(), m.dir.Close()) }
