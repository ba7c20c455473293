package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount makes the calls on the kernel's file system. It is safe for concurrent use.
type mount struct {
	dir  *os.File
	lock *os.File // holds the lock; nil without one
}

// root returns the descriptor of the mount itself.
func (m *mount) root() int { return int(m.dir.Fd()) }

// open opens an entry and follows no link on the way. A kernel or a sandbox without
// openat2(2) requires the walk, and the walk tells a link in the place of a
// directory from a link in the place of a file.
func (m *mount) open(name string, flags int, mode fs.FileMode) (fd int, err error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(permissions(mode)), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	err = retry("openat2", name, func() (err error) {
		fd, err = unix.Openat2(m.root(), path.Clean(name), &how)
		return err
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ELOOP) {
		return m.walk(name, flags, mode)
	}
	return fd, err
}

// walk opens an entry by opening every directory of its path.
func (m *mount) walk(name string, flags int, mode fs.FileMode) (fd int, err error) {
	dir, elements := m.root(), strings.Split(path.Clean(name), "/")
	for i, element := range elements {
		how := unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		if i == len(elements)-1 {
			how = flags
		}
		err = retry("openat", name, func() (err error) {
			fd, err = unix.Openat(dir, element, how, permissions(mode))
			return err
		})
		if dir != m.root() {
			_ = unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		dir = fd
	}
	return fd, nil
}

// in makes a call in the directory of name.
func (m *mount) in(op, name string, call func(dir int, base string) error) error {
	dir := m.root()
	if parent := path.Dir(name); parent != "." {
		fd, err := m.open(parent, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		dir = fd
	}
	return retry(op, name, func() error { return call(dir, path.Base(name)) })
}

// retry makes a call, and repeats it when a signal interrupts it.
func retry(op, name string, call func() error) error {
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

// Mkdir creates a directory. It inherits the setgid bit of its parent.
func (m *mount) Mkdir(name string, mode fs.FileMode) error {
	return m.in("mkdirat", name, func(dir int, base string) error {
		if err := unix.Mkdirat(dir, base, permissions(mode)); err != nil {
			return err
		}
		var st unix.Stat_t
		err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil || st.Mode&0o777 == permissions(mode) {
			return err
		}
		return chmodat(dir, base, permissions(mode)|st.Mode&unix.S_ISGID)
	})
}

// Create creates a file.
func (m *mount) Create(name string, mode fs.FileMode) (File, error) {
	fd, err := m.open(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, mode)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && info.Mode().Perm() != mode.Perm() {
		err = f.Chmod(mode.Perm())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Chmod sets the mode of a file or a directory. A directory keeps its setgid bit,
// which the kernel would otherwise clear if the process is not in the group.
func (m *mount) Chmod(name string, mode fs.FileMode) error {
	return m.in("fchmodat", name, func(dir int, base string) error { return chmodat(dir, base, permissions(mode)) })
}

func chmodat(dir int, base string, mode uint32) error {
	err := unix.Fchmodat(dir, base, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.EOPNOTSUPP { // a kernel before 6.6, or a link
		return chmodOpened(dir, base, mode)
	}
	return err
}

// chmodOpened sets the mode through a descriptor, as libc does on older kernels. It
// follows no link, and the file need not be readable.
func chmodOpened(dir int, base string, mode uint32) error {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

// Symlink creates a link.
func (m *mount) Symlink(target, name string) error {
	return m.in("symlinkat", name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// Rename moves an entry and replaces any entry with the new name.
func (m *mount) Rename(from, to string) error {
	return m.in("renameat", from, func(dir int, base string) error {
		if path.Dir(from) == path.Dir(to) {
			return unix.Renameat(dir, base, dir, path.Base(to))
		}
		return m.in("renameat", to, func(toDir int, toBase string) error { return unix.Renameat(dir, base, toDir, toBase) })
	})
}

// Remove removes a file, a link or an empty directory.
func (m *mount) Remove(name string) error {
	return m.in("unlinkat", name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		return err
	})
}

// SyncDir writes the entries of a directory to the disk. It succeeds on a file
// system that cannot sync a directory.
func (m *mount) SyncDir(name string) error {
	fd := m.root()
	if name != "." {
		var err error
		if fd, err = m.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
	}
	return retry("fsync", name, func() error {
		if err := unix.Fsync(fd); err != unix.EINVAL {
			return err
		}
		return nil
	})
}

// Lstat describes an entry.
func (m *mount) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	err := m.in("fstatat", name, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return Info{Mode: fileMode(st.Mode), Size: st.Size, Inode: st.Ino}, err
}

// Readlink returns the target of a link, truncated if it is longer than every target
// of this program.
func (m *mount) Readlink(name string) (string, error) {
	target, n := make([]byte, 512), 0
	err := m.in("readlinkat", name, func(dir int, base string) (err error) {
		n, err = unix.Readlinkat(dir, base, target)
		return err
	})
	return string(target[:max(n, 0)]), err
}

// ReadDir lists a directory.
func (m *mount) ReadDir(name string) ([]fs.DirEntry, error) {
	fd, err := m.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	return f.ReadDir(-1)
}

// ReadFile reads a file. O_NONBLOCK keeps a FIFO in its place from blocking the
// call.
func (m *mount) ReadFile(name string) ([]byte, error) {
	fd, err := m.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil, fmt.Errorf("read %s: %w", name, errNotReadable)
	}
	var data bytes.Buffer
	data.Grow(int(info.Size()) + bytes.MinRead) // io.ReadAll would allocate twice as much
	_, err = data.ReadFrom(io.LimitReader(f, MaxFile))
	return data.Bytes(), err
}

// Free returns the free space of the volume.
func (m *mount) Free() (bytes, inodes uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(m.root(), &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Ffree, nil
}

// Close closes the volume and releases its lock.
func (m *mount) Close() error {
	err := m.dir.Close()
	if m.lock != nil && m.lock != m.dir {
		err = errors.Join(err, m.lock.Close())
	}
	return err
}

// fileMode converts the kernel's mode.
func fileMode(st uint32) fs.FileMode {
	mode := fs.FileMode(st & 0o777)
	if st&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	switch st & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	return mode
}

// permissions converts a mode for the kernel.
func permissions(mode fs.FileMode) uint32 {
	p := uint32(mode.Perm())
	if mode&fs.ModeSetgid != 0 {
		p |= unix.S_ISGID
	}
	return p
}
