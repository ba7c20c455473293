// Package mount makes the system calls on the volume, one method a call. It
// promises that no call leaves the volume or blocks, whatever links and pipes an
// app plants there, and that one process at a time has the volume. It knows
// directories, files and links, and must not know what a generation is.
package mount

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

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
	// call, which takes a quarter of a publish. One that cannot be opened is reached
	// by that walk.
	Hold(name string) (release func())
	Lstat(name string) (Info, error)
	Readlink(name string) (string, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	ReadFile(name string) ([]byte, error) // a regular file of up to maxFile bytes
	Free() (bytes, inodes uint64, err error)

	Close() error
}

// File is a file that is being made.
type File interface {
	io.WriteCloser
	Sync() error
}

// maxFile is more than a Secret can have (1 MiB): a larger file is not ours, and
// is not read into memory.
const maxFile = 4 << 20

// errType is the error for a name that has something of another kind.
var errType = errors.New("not a regular file of a Secret's size")

// Mount is the volume on the kernel's file system. A call is made in the open
// directory that the name lies in, which is opened from the mount down, element
// by element. No link is followed anywhere: no name points out of the volume.
type Mount struct {
	dir  *os.File       // the mount itself: it carries the lock
	held map[string]int // descriptors of open directories
}

// Hold opens a directory, and no link to one.
func (m *Mount) Hold(name string) (release func()) {
	if _, held := m.held[name]; held {
		return func() {}
	}
	fd, err := m.openDir(name)
	if err != nil {
		return func() {}
	}
	m.held[name] = fd
	return func() {
		delete(m.held, name)
		_ = unix.Close(fd)
	}
}

func (m *Mount) openDir(name string) (fd int, err error) {
	return m.openat(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

func (m *Mount) openat(name string, flags int, mode fs.FileMode) (fd int, err error) {
	err = m.at("openat", name, func(dir int, base string) (err error) {
		fd, err = unix.Openat(dir, base, flags|unix.O_CLOEXEC, permissions(mode))
		return err
	})
	return fd, err
}

// at makes a call in the directory that name lies in.
func (m *Mount) at(op, name string, call func(dir int, base string) error) (err error) {
	dir := path.Dir(name)
	fd, held := m.held[dir]
	if !held {
		if fd, err = m.openDir(dir); err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
	}
	return try(op, name, func() error { return call(fd, path.Base(name)) })
}

// try makes a call, again if a signal interrupts it.
func try(op, name string, call func() error) error {
	for {
		switch err := call(); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &fs.PathError{Op: op, Path: path.Clean(name), Err: err}
		}
	}
}

// Mkdir makes a directory.
func (m *Mount) Mkdir(name string, mode fs.FileMode) error {
	return m.at("mkdirat", name, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, permissions(mode))
	})
}

// Create makes a file. O_EXCL follows no link and opens nothing that is there.
func (m *Mount) Create(name string, mode fs.FileMode) (File, error) {
	fd, err := m.openat(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, mode)
	if err != nil {
		return nil, err
	}
	return &file{fd, name}, nil
}

// Chmod sets the mode of a file or a directory.
func (m *Mount) Chmod(name string, mode fs.FileMode) error {
	return m.at("fchmodat", name, func(dir int, base string) error {
		err := unix.Fchmodat(dir, base, permissions(mode), unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.EOPNOTSUPP { // a kernel before 6.6, or a link
			return chmodOpened(dir, base, mode)
		}
		return err
	})
}

// chmodOpened follows no link either: it is how libc does it.
func chmodOpened(dir int, base string, mode fs.FileMode) error {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), permissions(mode))
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

// Remove removes a file, a link or an empty directory, and follows no link.
func (m *Mount) Remove(name string) error {
	return m.at("unlinkat", name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		return err
	})
}

// SyncDir syncs the entries of a directory. A file system that cannot do that
// has nothing to wait for.
func (m *Mount) SyncDir(name string) error {
	return m.at("fsync", name+"/.", func(dir int, _ string) error {
		if err := unix.Fsync(dir); err != unix.EINVAL {
			return err
		}
		return nil
	})
}

// Lstat looks at an entry, and follows no link.
func (m *Mount) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	err := m.at("fstatat", name, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return info(&st), err
}

// Readlink gives a link's target, cut short where it is longer than ours are.
func (m *Mount) Readlink(name string) (string, error) {
	target, n := make([]byte, 512), 0
	err := m.at("readlinkat", name, func(dir int, base string) (err error) {
		n, err = unix.Readlinkat(dir, base, target)
		return err
	})
	return string(target[:max(n, 0)]), err
}

// IsNoLink reports whether an error of Readlink says that there is no link of the name.
func IsNoLink(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL)
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

// ReadFile reads a regular file. Anything else in its place, such as a FIFO, does
// not block it.
func (m *Mount) ReadFile(name string) ([]byte, error) {
	fd, err := m.openat(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("read %s: %w", name, errType)
	}
	var data bytes.Buffer
	data.Grow(int(info.Size()) + bytes.MinRead) // io.ReadAll takes twice as much
	_, err = data.ReadFrom(io.LimitReader(f, maxFile))
	return data.Bytes(), err
}

// Free gives what is left on the volume.
func (m *Mount) Free() (bytes, inodes uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(m.dir.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Ffree, nil
}

// Close gives up the lock with the mount.
func (m *Mount) Close() error { return m.dir.Close() }

// Info is what Lstat finds of an entry.
type Info struct {
	Mode fs.FileMode // its type and permissions
	Size int64
}

func info(st *unix.Stat_t) Info {
	mode := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	return Info{Mode: mode, Size: st.Size}
}

// permissions are what the kernel takes.
func permissions(mode fs.FileMode) uint32 {
	p := uint32(mode.Perm())
	if mode&fs.ModeSetgid != 0 {
		p |= unix.S_ISGID
	}
	return p
}
