package volume

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// mount makes the calls on the kernel's file system. It is safe for concurrent use.
type mount struct {
	dir      *os.File
	lock     *os.File // holds the lock; nil without one
	openat2  func(dir int, name string, how *unix.OpenHow) (fd int, err error)
	fchmodat func(dir int, name string, mode uint32, flags int) error
}

// openDir returns a descriptor of a directory, and closes it with done.
func (m *mount) openDir(name string, flags int) (fd int, done func(), err error) {
	if name == "." {
		return int(m.dir.Fd()), func() {}, nil
	}
	if fd, err = m.open(name, flags|unix.O_DIRECTORY, 0); err != nil {
		return fd, func() {}, err
	}
	return fd, func() { _ = unix.Close(fd) }, nil
}

// each makes a call in the directory of each of names, and returns the first error.
func (m *mount) each(op string, names []string, call func(dir int, base string) error) (first error) {
	var dir string
	var fd int
	var err error
	done := func() {}
	for _, name := range names {
		if parent := path.Dir(name); parent != dir {
			done()
			dir = parent
			fd, done, err = m.openDir(dir, unix.O_PATH)
			first = cmp.Or(first, err)
		}
		if err == nil {
			first = cmp.Or(first, retry(op, name, func() error { return call(fd, path.Base(name)) }))
		}
	}
	done()
	return first
}

// in makes a call in the directory of name.
func (m *mount) in(op, name string, call func(dir int, base string) error) error {
	return m.each(op, []string{name}, call)
}

// retry makes a call, and repeats it when a signal interrupts it. Its error names a single path.
func retry(op, name string, call func() error) error {
	for {
		switch err := call(); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			if _, named := err.(*fs.PathError); named {
				return err
			}
			return &fs.PathError{Op: op, Path: path.Clean(name), Err: err}
		}
	}
}

// open opens an entry and follows no link on the way. It opens one directory after the other for a kernel or a sandbox
// without openat2(2), and to tell a link in the place of a directory from a link in the place of a file.
func (m *mount) open(name string, flags int, mode fs.FileMode) (fd int, err error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode.Perm()),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	err = retry("openat2", name, func() (err error) {
		fd, err = m.openat2(int(m.dir.Fd()), path.Clean(name), &how)
		return err
	})
	if isAny(err, unix.ENOSYS, unix.EPERM, unix.ELOOP) {
		err = m.in("openat", name, func(dir int, base string) (err error) {
			fd, err = unix.Openat(dir, base, flags, uint32(mode.Perm()))
			return err
		})
	}
	return fd, err
}

func (m *mount) openFile(name string, flags int, mode fs.FileMode) (*os.File, error) {
	fd, err := m.open(name, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Mkdir creates a directory. It inherits the setgid bit of its parent.
func (m *mount) Mkdir(name string, mode fs.FileMode) error {
	var st unix.Stat_t
	err := m.in("mkdirat", name, func(dir int, base string) error {
		if err := unix.Mkdirat(dir, base, uint32(mode.Perm())); err != nil {
			return err
		}
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil || fs.FileMode(st.Mode).Perm() == mode.Perm() {
		return err
	}
	return m.Chmod(mode|fileMode(st.Mode)&fs.ModeSetgid, name)
}

func (m *mount) Create(name string, mode fs.FileMode) (File, error) {
	f, err := m.openFile(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, mode)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode.Perm()); err != nil { // the umask or a default ACL may have reduced the mode
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Chmod follows no link. Before Linux 6.6 or in an older sandbox, this requires a descriptor: three calls instead of
// one. The entries need not be readable.
func (m *mount) Chmod(mode fs.FileMode, names ...string) error {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	return m.each("chmod", names, func(dir int, base string) error {
		if m.fchmodat(dir, base, bits, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return nil
		}
		fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Fchmodat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), bits, 0)
	})
}

func (m *mount) Symlink(target, name string) error {
	return m.in("symlinkat", name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

func (m *mount) Rename(from, to string) error {
	return m.in("renameat", to, func(toDir int, toBase string) error {
		return m.in("renameat", from, func(dir int, base string) error {
			return unix.Renameat(dir, base, toDir, toBase)
		})
	})
}

func (m *mount) Remove(names ...string) error {
	err := m.each("unlinkat", names, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		if err == unix.ENOENT {
			return nil
		}
		return err
	})
	if errors.Is(err, unix.ENOENT) { // of a directory
		return nil
	}
	return err
}

// SyncDir writes the entries of a directory to the disk. It succeeds on a file system that cannot sync a directory.
func (m *mount) SyncDir(name string) error {
	fd, done, err := m.openDir(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer done()
	err = retry("fsync", name, func() error { return unix.Fsync(fd) })
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

func (m *mount) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	err := m.in("fstatat", name, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return Info{Mode: fileMode(st.Mode), Size: st.Size, Inode: st.Ino}, err
}

func fileMode(st uint32) fs.FileMode {
	types := map[uint32]fs.FileMode{unix.S_IFREG: 0, unix.S_IFDIR: fs.ModeDir, unix.S_IFLNK: fs.ModeSymlink}
	mode, ok := types[st&unix.S_IFMT]
	if !ok {
		mode = fs.ModeIrregular
	}
	if st&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	return mode | fs.FileMode(st&0o777)
}

// Readlink returns the target of a link, truncated if it is longer than every target of this program.
func (m *mount) Readlink(name string) (string, error) {
	target, n := make([]byte, 512), 0
	err := m.in("readlinkat", name, func(dir int, base string) (err error) {
		n, err = unix.Readlinkat(dir, base, target)
		return err
	})
	return string(target[:max(n, 0)]), err
}

// ReadDir reads a directory in parts: 500,000 planted entries would take 70 MB at once.
func (m *mount) ReadDir(name string) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		f, err := m.openFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = f.Close() }()
		for err == nil {
			var entries []fs.DirEntry
			entries, err = f.ReadDir(1000)
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}
		if err != io.EOF {
			yield(nil, err)
		}
	}
}

// ReadFile reads a file. O_NONBLOCK keeps a FIFO in its place from blocking the call.
func (m *mount) ReadFile(name string) ([]byte, error) {
	f, err := m.openFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil, fmt.Errorf("read %s: %w", name, errNotReadable)
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

func (m *mount) Free() (bytes, inodes uint64, err error) {
	var st unix.Statfs_t
	err = unix.Fstatfs(int(m.dir.Fd()), &st)
	return st.Bavail * uint64(st.Bsize), st.Ffree, err
}

// Close closes the volume and releases its lock.
func (m *mount) Close() error {
	err := m.dir.Close()
	_ = m.lock.Close() // fails for an unlocked volume, or if m.dir itself is locked
	return err
}
