package simulation

import (
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/writer/mount"
)

// handle is the disk as one life of the program has it open: a mount.Volume. Once
// that life is over each call fails and does nothing.
type handle struct {
	*world
	life *life
	held map[string]*inode
}

func newHandle(w *world, l *life) *handle { return &handle{w, l, map[string]*inode{".": w.disk.root}} }

// change makes a call that changes something, or what a fault makes of it. Other
// goroutines may run before it, as they may during a system call.
func (h *handle) change(op, name string, do func() error) error {
	runtime.Gosched()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life.dead {
		return pathError(op, name, errDead)
	}
	h.changes++
	fault := h.life.fault(op, name)
	if fault == killBefore {
		h.life.kill("before " + op + " " + name)
		return pathError(op, name, errDead)
	}
	var err error
	if fault != notDone && fault != noSpace {
		err = do()
	}
	h.tracef("volume: %s %s: %v%s", op, name, err, fault)
	h.look()
	switch fault {
	case killAfter:
		h.life.kill("after " + op + " " + name)
		return pathError(op, name, errDead)
	case notDone, done:
		err = syscall.EIO
	case noSpace:
		err = syscall.ENOSPC
	}
	return pathError(op, name, err)
}

// read makes a call that only looks.
func (h *handle) read(op, name string, do func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life.dead {
		return pathError(op, name, errDead)
	}
	if h.life.fault(op, name) != "" {
		h.tracef("volume: %s %s fails", op, name)
		return pathError(op, name, syscall.EIO)
	}
	return pathError(op, name, do())
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// parent is the directory that a call is made in, through its handle if it is held.
func (h *handle) parent(name string) (*inode, string, error) {
	dir := path.Dir(name)
	if n := h.held[dir]; n != nil {
		return n, path.Base(name), nil
	}
	n, err := h.disk.resolve(dir, false)
	if err == nil && !n.mode.IsDir() {
		err = errKind
	}
	return n, path.Base(name), err
}

// in makes a call in the directory that name is in.
func (h *handle) in(name string, do func(dir *inode, base string) error) error {
	dir, base, err := h.parent(name)
	if err != nil {
		return err
	}
	return do(dir, base)
}

// lookup is an entry itself, not what it points to.
func (h *handle) lookup(name string) (*inode, error) {
	if n := h.held[name]; n != nil {
		return n, nil
	}
	dir, base, err := h.parent(name)
	if err != nil {
		return nil, err
	}
	if n := dir.entries[base]; n != nil {
		return n, nil
	}
	return nil, syscall.ENOENT
}

// add gives a directory a new entry.
func (h *handle) add(name string, n *inode) error {
	return h.in(name, func(dir *inode, base string) error {
		if dir.entries[base] != nil {
			return syscall.EEXIST
		}
		dir.set(base, n, false)
		return nil
	})
}

func (h *handle) Mkdir(name string, mode fs.FileMode) error {
	return h.change("mkdir", name, func() error { return h.add(name, newDir(mode)) })
}

func (h *handle) Create(name string, mode fs.FileMode) (mount.File, error) {
	n := newFile(mode, "")
	if err := h.change("create", name, func() error { return h.add(name, n) }); err != nil {
		return nil, err
	}
	return &openFile{h, name, n}, nil
}

func (h *handle) Symlink(target, name string) error {
	return h.change("symlink", name, func() error { return h.add(name, newLink(target)) })
}

func (h *handle) Chmod(name string, mode fs.FileMode) error {
	return h.change("chmod", name, func() error {
		n, err := h.lookup(name)
		if err == nil {
			n.mode = n.mode.Type() | mode.Perm()
		}
		return err
	})
}

func (h *handle) Rename(from, to string) error {
	return h.change("rename", from, func() error {
		return h.in(from, func(dir *inode, base string) error { return dir.rename(base, path.Base(to)) })
	})
}

func (h *handle) Remove(name string) error {
	return h.change("remove", name, func() error {
		return h.in(name, func(dir *inode, base string) error { return dir.remove(base) })
	})
}

func (h *handle) SyncDir(name string) error {
	return h.change("sync", name, func() error { _, err := h.lookup(name); return err })
}

func (h *handle) Hold(name string) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[name] != nil {
		return func() {}, nil
	}
	n, err := h.lookup(name)
	if err == nil && !n.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	h.held[name] = n
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.held, name)
	}, nil
}

func (h *handle) Lstat(name string) (info mount.Info, err error) {
	err = h.read("lstat", name, func() error {
		n, err := h.lookup(name)
		if err == nil {
			info = mount.Info{Mode: n.mode, Size: int64(len(n.data))}
			if n.mode.Type() != 0 {
				info.Mode = n.mode.Type() | n.mode.Perm()
			}
		}
		return err
	})
	return info, err
}

func (h *handle) Readlink(name string) (target string, err error) {
	err = h.read("readlink", name, func() error {
		n, err := h.disk.resolve(name, false)
		if err == nil && !n.isLink() {
			err = syscall.EINVAL
		}
		if err == nil {
			target = string(n.data)
		}
		return err
	})
	return target, err
}

func (h *handle) ReadDir(name string) (all []fs.DirEntry, err error) {
	err = h.read("readdir", name, func() error {
		n, err := h.lookup(name)
		if err == nil && !n.mode.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return err
		}
		for base, e := range n.entries {
			all = append(all, entry{base, e})
		}
		slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		return nil
	})
	return all, err
}

func (h *handle) ReadFile(name string) (data []byte, err error) {
	err = h.read("read", name, func() error {
		n, err := h.disk.resolve(name, false)
		if err == nil && !n.mode.IsRegular() {
			err = errKind
		}
		if err == nil {
			data = slices.Clone(n.data)
		}
		return err
	})
	return data, err
}

func (h *handle) Free() (bytes, inodes uint64, err error) { return 1 << 20, 1000, nil }
func (h *handle) Close() error                            { return nil }

// openFile is a file that is being made.
type openFile struct {
	*handle
	name string
	n    *inode
}

func (f *openFile) Write(p []byte) (int, error) {
	err := f.change("write", f.name, func() error { f.n.data = append(f.n.data, p...); return nil })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *openFile) Mode() (fs.FileMode, error) { return f.n.mode, nil }

func (f *openFile) Chmod(mode fs.FileMode) error {
	return f.change("fchmod", f.name, func() error { f.n.mode = mode.Perm(); return nil })
}

func (f *openFile) Sync() error {
	return f.change("fsync", f.name, func() error { return nil })
}

func (f *openFile) Close() error {
	return f.change("close", f.name, func() error { return nil })
}
