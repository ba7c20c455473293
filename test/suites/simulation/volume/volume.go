package volume

import (
	"cmp"
	"errors"
	"io/fs"
	"iter"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"

	writervolume "github.com/secret-sync/secret-sync/writer/volume"
)

// A Caller is a process that makes calls on the volume. It decides the outcome of each
// call: it may run do, and it returns the error of do or another error. It makes only one
// call at a time.
type Caller interface {
	// Change makes a call that changes something.
	Change(op, name string, do func() error) error
	// Read makes a read-only call.
	Read(op, name string, do func() error) error
}

// A handle is the disk opened by a process.
type handle struct {
	caller Caller
	root   *Inode
}

// Open opens the disk for a process.
func (d *Disk) Open(by Caller) writervolume.Calls {
	return &handle{by, d.Root}
}

// change makes a call that changes something. As during a system call, other goroutines
// may run before it.
func (h *handle) change(op, name string, do func() error) error {
	runtime.Gosched()
	return pathError(op, name, h.caller.Change(op, name, do))
}

func (h *handle) read(op, name string, do func() error) error {
	return pathError(op, name, h.caller.Read(op, name, do))
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// dir returns a directory. Like the real mount, it follows no link.
func (h *handle) dir(name string) (*Inode, error) {
	if name == "." {
		return h.root, nil
	}
	n, err := h.lookup(name)
	if err == nil && !n.Mode.IsDir() {
		err = syscall.ENOTDIR
	}
	return n, err
}

// in makes a call in the parent directory of name.
func (h *handle) in(name string, do func(dir *Inode, base string) error) error {
	dir, err := h.dir(path.Dir(name))
	if err != nil {
		return err
	}
	return do(dir, path.Base(name))
}

// lookup returns an entry without following a link.
func (h *handle) lookup(name string) (n *Inode, err error) {
	err = h.in(name, func(dir *Inode, base string) error {
		if n = dir.Entries[base]; base == "." {
			n = dir
		}
		if n == nil {
			return syscall.ENOENT
		}
		return nil
	})
	return n, err
}

// add adds an entry to a directory.
func (h *handle) add(name string, n *Inode) error {
	return h.in(name, func(dir *Inode, base string) error {
		if dir.Entries[base] != nil {
			return syscall.EEXIST
		}
		dir.set(base, n, false)
		return nil
	})
}

func (h *handle) Mkdir(name string, mode fs.FileMode) error {
	return h.change("mkdir", name, func() error { return h.add(name, NewDir(mode)) })
}

func (h *handle) Create(name string, mode fs.FileMode) (writervolume.File, error) {
	n := NewFile(mode, "")
	if err := h.change("create", name, func() error { return h.add(name, n) }); err != nil {
		return nil, err
	}
	return &openFile{h, name, n}, nil
}

func (h *handle) Symlink(target, name string) error {
	return h.change("symlink", name, func() error { return h.add(name, NewLink(target)) })
}

// Chmod makes a call for each name, so that a fault can occur between them.
func (h *handle) Chmod(mode fs.FileMode, names ...string) (err error) {
	for _, name := range names {
		callErr := h.change("chmod", name, func() error {
			n, err := h.lookup(name)
			switch {
			case err != nil:
				return err
			case n.IsLink():
				return syscall.EOPNOTSUPP
			}
			n.Mode = n.Mode.Type() | mode.Perm()
			return nil
		})
		err = cmp.Or(err, callErr)
	}
	return err
}

func (h *handle) Rename(from, to string) error {
	return h.change("rename", from, func() error {
		return h.in(from, func(dir *Inode, base string) error { return dir.rename(base, path.Base(to)) })
	})
}

// Remove makes a call for each name, as Chmod does. It ignores missing entries.
func (h *handle) Remove(names ...string) (err error) {
	for _, name := range names {
		callErr := h.change("remove", name, func() error {
			return h.in(name, func(dir *Inode, base string) error { return dir.remove(base) })
		})
		if !errors.Is(callErr, syscall.ENOENT) {
			err = cmp.Or(err, callErr)
		}
	}
	return err
}

func (h *handle) SyncDir(name string) error {
	return h.change("sync", name, func() error { _, err := h.dir(name); return err })
}

func (h *handle) Lstat(name string) (info writervolume.Info, err error) {
	err = h.read("lstat", name, func() error {
		n, err := h.lookup(name)
		if err == nil {
			info = writervolume.Info{Mode: n.Mode, Size: int64(len(n.Data))}
			if n.Mode.Type() != 0 {
				info.Mode = n.Mode.Type() | n.Mode.Perm()
			}
		}
		return err
	})
	return info, err
}

func (h *handle) Readlink(name string) (target string, err error) {
	err = h.read("readlink", name, func() error {
		n, err := h.lookup(name)
		if err == nil && !n.IsLink() {
			err = syscall.EINVAL
		}
		if err == nil {
			target = string(n.Data)
		}
		return err
	})
	return target, err
}

func (h *handle) ReadDir(name string) iter.Seq2[fs.DirEntry, error] {
	var all []fs.DirEntry
	err := h.read("readdir", name, func() error {
		n, err := h.dir(name)
		if err != nil {
			return err
		}
		for base, e := range n.Entries {
			all = append(all, entry{base, e})
		}
		slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		return nil
	})
	return func(yield func(fs.DirEntry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

func (h *handle) ReadFile(name string) (data []byte, err error) {
	err = h.read("read", name, func() error {
		n, err := h.lookup(name)
		switch {
		case err != nil:
			return err
		case n.IsLink():
			return syscall.ELOOP
		case !n.Mode.IsRegular():
			return errType
		}
		data = slices.Clone(n.Data)
		return nil
	})
	return data, err
}

func (h *handle) Free() (bytes, inodes uint64, err error) { return 1 << 20, 1000, nil }
func (h *handle) Close() error                            { return nil }

// An openFile is a file open for writing.
type openFile struct {
	*handle
	name string
	n    *Inode
}

func (f *openFile) Write(p []byte) (int, error) {
	err := f.change("write", f.name, func() error { f.n.Data = append(f.n.Data, p...); return nil })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *openFile) Sync() error {
	return f.change("fsync", f.name, func() error { return nil })
}

func (f *openFile) Close() error {
	return f.change("close", f.name, func() error { return nil })
}
