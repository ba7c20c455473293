package writer

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Hold opens a directory. One that cannot be opened is reached name by name, by
// who does not mind that the walk follows links inside the volume.
func (v *rootVolume) Hold(name string) (release func(), held bool) {
	if _, held := v.held[name]; held {
		return func() {}, true
	}
	fd, err := v.openDir(name)
	if err != nil {
		return func() {}, false
	}
	v.held[name] = fd
	return func() {
		delete(v.held, name)
		_ = unix.Close(fd)
	}, true
}

// openDir opens a directory, and no link to one.
func (v *rootVolume) openDir(name string) (fd int, err error) {
	if dir, base, ok := v.in(name); ok {
		return openat(dir, base, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	f, err := v.open(name, fs.ModeDir)
	if err != nil {
		return -1, err
	}
	defer func() { _ = f.Close() }()
	return openat(int(f.Fd()), ".", name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// openat opens base in an open directory, and no link; name is for the error.
func openat(dir int, base, name string, flags int, mode uint32) (fd int, err error) {
	fd, err = retry(func() (int, error) {
		return unix.Openat(dir, base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	})
	return fd, pathError("openat", name, err)
}

// SyncDir syncs the entries of a directory.
func (v *rootVolume) SyncDir(name string) error {
	if v.memory {
		return nil
	}
	fd, held := v.held[name]
	if name == "." {
		fd, held = int(v.dir.Fd()), true
	}
	if !held {
		var err error
		if fd, err = v.openDir(name); err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
	}
	_, err := retry(func() (int, error) { return 0, unix.Fsync(fd) })
	if errors.Is(err, unix.EINVAL) { // a file system that cannot sync a directory: nothing to wait for
		return nil
	}
	return pathError("fsync", name, err)
}

// ReadDir lists a directory.
func (v *rootVolume) ReadDir(name string) ([]fs.DirEntry, error) {
	fd, err := v.openAgain(name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	return f.ReadDir(-1)
}

// openAgain opens a directory for a listing from its beginning.
func (v *rootVolume) openAgain(name string) (fd int, err error) {
	if name == "." {
		return openat(int(v.dir.Fd()), ".", name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if fd, held := v.held[name]; held {
		return openat(fd, ".", name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	return v.openDir(name)
}

// Mkdir makes a directory.
func (v *rootVolume) Mkdir(name string, mode fs.FileMode) error {
	dir, base, ok := v.in(name)
	if !ok {
		return v.root.Mkdir(name, mode)
	}
	_, err := retry(func() (int, error) { return 0, unix.Mkdirat(dir, base, uint32(mode.Perm())) })
	return pathError("mkdirat", name, err)
}

// Symlink makes a link.
func (v *rootVolume) Symlink(target, name string) error {
	dir, base, ok := v.in(name)
	if !ok {
		return v.root.Symlink(target, name)
	}
	_, err := retry(func() (int, error) { return 0, unix.Symlinkat(target, dir, base) })
	return pathError("symlinkat", name, err)
}

// Rename renames an entry over another one.
func (v *rootVolume) Rename(from, to string) error {
	dir, base, ok := v.in(from)
	toDir, toBase, toOK := v.in(to)
	if !ok || !toOK {
		return v.root.Rename(from, to)
	}
	_, err := retry(func() (int, error) { return 0, unix.Renameat(dir, base, toDir, toBase) })
	return pathError("renameat", from, err)
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// in gives the open directory that name lies directly in, and its name there.
func (v *rootVolume) in(name string) (dir int, base string, ok bool) {
	parent, base := path.Split(name)
	if base == "" || base == "." || base == ".." {
		return 0, "", false
	}
	if parent == "" {
		return int(v.dir.Fd()), base, true
	}
	dir, ok = v.held[parent[:len(parent)-1]]
	return dir, base, ok
}

// Create makes a file. O_EXCL never follows a link and never opens what is there
// already.
func (v *rootVolume) Create(name string, mode fs.FileMode) (file, error) {
	dir, base, ok := v.in(name)
	if !ok {
		f, err := v.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	fd, err := openat(dir, base, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, uint32(mode.Perm()))
	if err != nil {
		return nil, err
	}
	return &rawFile{fd, name, v.memory}, nil
}

// rawFile is an os.File without what that does for pipes and sockets: four
// fcntl and an epoll_ctl for each file.
type rawFile struct {
	fd     int
	name   string
	memory bool // nothing to sync
}

func (f *rawFile) Write(data []byte) (written int, err error) {
	for written < len(data) {
		n, err := retry(func() (int, error) { return unix.Write(f.fd, data[written:]) })
		if err != nil {
			return written, pathError("write", f.name, err)
		}
		written += n
	}
	return written, nil
}

// Chmod looks first: a mode that is set is an event for every watch, also ours.
func (f *rawFile) Chmod(mode fs.FileMode) error {
	var st unix.Stat_t
	if unix.Fstat(f.fd, &st) == nil && st.Mode&0o7777 == uint32(mode.Perm()) {
		return nil
	}
	return pathError("fchmod", f.name, unix.Fchmod(f.fd, uint32(mode.Perm())))
}

func (f *rawFile) Sync() error {
	if f.memory {
		return nil
	}
	_, err := retry(func() (int, error) { return 0, unix.Fsync(f.fd) })
	return pathError("fsync", f.name, err)
}

func (f *rawFile) Close() error { return pathError("close", f.name, unix.Close(f.fd)) }

// Remove removes a file, a link or an empty directory, and follows no link. One
// that is held is a directory.
func (v *rootVolume) Remove(name string) error {
	dir, base, ok := v.in(name)
	if !ok {
		return v.root.Remove(name)
	}
	unlink := func(flags int) error {
		_, err := retry(func() (int, error) { return 0, unix.Unlinkat(dir, base, flags) })
		return err
	}
	if _, held := v.held[name]; held {
		return pathError("unlinkat", name, unlink(unix.AT_REMOVEDIR))
	}
	err := unlink(0)
	if err == unix.EISDIR || err == unix.EPERM { // Linux says the first, POSIX the second
		if e := unlink(unix.AT_REMOVEDIR); e != unix.ENOTDIR {
			err = e
		}
	}
	return pathError("unlinkat", name, err)
}

// Wake sets the mode that a regular file has, which watches on its inode see.
// Where the kernel cannot do that without following a link (before 6.6),
// os.Root does it in more steps.
func (v *rootVolume) Wake(name string) error {
	var st unix.Stat_t
	if dir, base, ok := v.in(name); ok && unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Fchmodat(dir, base, st.Mode&0o7777, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return nil
	}
	info, err := v.root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil // someone's work: there is no inode of ours to wake
	}
	return v.root.Chmod(name, info.Mode())
}

// retry calls again what a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
