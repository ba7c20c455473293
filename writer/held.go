package writer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// held is a directory that was opened through os.Root and is open.
type held struct {
	name string
	f    *os.File
}

// Hold opens a directory. One that cannot be opened is reached name by name. The
// last one that was held is the first to be released.
func (v *rootVolume) Hold(name string) (release func()) {
	f, err := v.openDir(name)
	if err != nil {
		return func() {}
	}
	v.held = append(v.held, held{name, f})
	return func() {
		v.held = v.held[:len(v.held)-1]
		_ = f.Close()
	}
}

// openDir opens a directory, and no link to one.
func (v *rootVolume) openDir(name string) (*os.File, error) {
	dir, base, ok := v.in(name)
	if !ok {
		return v.open(name, fs.ModeDir)
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, pathError("openat", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// directory gives a directory that is open already, or opens it; done closes it
// only then.
func (v *rootVolume) directory(name string) (f *os.File, done func(), err error) {
	if name == "." {
		return v.dir, func() {}, nil
	}
	for _, h := range slices.Backward(v.held) {
		if h.name == name {
			return h.f, func() {}, nil
		}
	}
	f, err = v.openDir(name)
	return f, func() { _ = f.Close() }, err
}

// SyncDir syncs the entries of a directory.
func (v *rootVolume) SyncDir(name string) error {
	if v.memory {
		return nil
	}
	f, done, err := v.directory(name)
	if err != nil {
		return err
	}
	defer done()
	// A file system that cannot sync a directory says EINVAL: nothing to wait for.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// ReadDir lists a directory.
func (v *rootVolume) ReadDir(name string) ([]fs.DirEntry, error) {
	f, done, err := v.directory(name)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return f.ReadDir(-1)
}

// Symlink makes a link.
func (v *rootVolume) Symlink(target, name string) error {
	dir, base, ok := v.in(name)
	if !ok {
		return v.root.Symlink(target, name)
	}
	return pathError("symlinkat", name, unix.Symlinkat(target, dir, base))
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
	for _, h := range slices.Backward(v.held) {
		if h.name+"/" == parent {
			return int(h.f.Fd()), base, true
		}
	}
	return 0, "", false
}

// Create makes a file. O_EXCL never follows a link and never opens what is there
// already. Its mode is 0600 until it is set: umask can only have weakened that.
func (v *rootVolume) Create(name string) (file, error) {
	const mode = 0o600
	dir, base, ok := v.in(name)
	if !ok {
		f, err := v.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	})
	if err != nil {
		return nil, pathError("openat", name, err)
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

func (f *rawFile) Chmod(mode fs.FileMode) error {
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

// Remove removes a file, a link or an empty directory, and follows no link.
func (v *rootVolume) Remove(name string) error {
	dir, base, ok := v.in(name)
	if !ok {
		return v.root.Remove(name)
	}
	_, err := retry(func() (int, error) { return 0, unix.Unlinkat(dir, base, 0) })
	if err == unix.EISDIR || err == unix.EPERM { // Linux says the first, POSIX the second
		if _, e := retry(func() (int, error) { return 0, unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) }); e != unix.ENOTDIR {
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
