package simulation

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// inode is a file, a directory or a link in memory.
type inode struct {
	mode    fs.FileMode
	data    []byte            // of a file; the target of a link
	entries map[string]*inode // of a directory

	// What harm did, until the program puts something of its own in its place.
	foreign bool            // it was made or changed
	touched map[string]bool // of a directory: these names were taken away or replaced
	rebuilt bool            // a directory of the program's, in the place of what was harmed
}

func newDir(mode fs.FileMode) *inode {
	return &inode{mode: fs.ModeDir | mode.Perm(), entries: map[string]*inode{}, touched: map[string]bool{}}
}

func newFile(mode fs.FileMode, data string) *inode {
	return &inode{mode: mode.Perm(), data: []byte(data)}
}

func newLink(target string) *inode {
	return &inode{mode: fs.ModeSymlink | 0o777, data: []byte(target)}
}

func (n *inode) isLink() bool { return n != nil && n.mode.Type() == fs.ModeSymlink }

// set gives a directory an entry, nil to take it away. What the program takes away
// was harmed if it was not the program's own.
func (n *inode) set(name string, entry *inode, harm bool) {
	harm = harm || entry == nil && hurt(n.entries[name])
	if harm {
		n.touched[name] = true
	} else if entry != nil {
		entry.rebuilt = entry.rebuilt || n.touched[name] || hurt(n.entries[name])
		delete(n.touched, name)
	}
	if entry == nil {
		delete(n.entries, name)
	} else {
		n.entries[name] = entry
	}
}

// disk is the volume.
type disk struct{ root *inode }

func newDisk() *disk { return &disk{newDir(0o777)} }

// errKind is the mount's error for an entry of another kind, or for a link that
// leads out of the volume.
var errKind = errors.New("not of the expected type")

// resolve finds an entry as os.Root does. Links on the way are followed, at the
// end only if follow says so; none leads out of the volume.
func (d *disk) resolve(name string, follow bool) (*inode, error) {
	stack, todo, hops := []*inode{d.root}, strings.Split(name, "/"), 0
	for len(todo) > 0 {
		element := todo[0]
		todo = todo[1:]
		at := stack[len(stack)-1]
		switch element {
		case "", ".":
			continue
		case "..":
			if len(stack) == 1 {
				return nil, errKind
			}
			stack = stack[:len(stack)-1]
			continue
		}
		if !at.mode.IsDir() {
			return nil, syscall.ENOTDIR
		}
		next := at.entries[element]
		if next == nil {
			return nil, syscall.ENOENT
		}
		if !next.isLink() || len(todo) == 0 && !follow {
			stack = append(stack, next)
			continue
		}
		if hops++; hops > 40 {
			return nil, syscall.ELOOP
		}
		target := string(next.data)
		if path.IsAbs(target) {
			return nil, errKind
		}
		todo = slices.Concat(strings.Split(target, "/"), todo)
	}
	return stack[len(stack)-1], nil
}

// rename is rename(2) inside a directory.
func (n *inode) rename(from, to string) error {
	moved, there := n.entries[from], n.entries[to]
	switch {
	case moved == nil:
		return syscall.ENOENT
	case there == nil:
	case moved.mode.IsDir() && !there.mode.IsDir():
		return syscall.ENOTDIR
	case !moved.mode.IsDir() && there.mode.IsDir():
		return syscall.EISDIR
	case there.mode.IsDir() && len(there.entries) > 0:
		return syscall.ENOTEMPTY
	}
	n.set(from, nil, false)
	n.set(to, moved, false)
	return nil
}

// remove is unlink(2), or rmdir(2) for a directory.
func (n *inode) remove(name string) error {
	switch there := n.entries[name]; {
	case there == nil:
		return syscall.ENOENT
	case len(there.entries) > 0:
		return syscall.ENOTEMPTY
	}
	n.set(name, nil, false)
	return nil
}

// tree lists all that is on the disk, path → what it is.
func (d *disk) tree() map[string]string {
	all := map[string]string{}
	d.root.list("", all)
	return all
}

func (n *inode) list(below string, all map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		e := n.entries[name]
		all[below+name] = e.mode.String() + " " + string(e.data)
		e.list(below+name+"/", all)
	}
}

// entry is an inode as ReadDir gives it.
type entry struct {
	name string
	*inode
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.mode.IsDir() }
func (e entry) Type() fs.FileMode          { return e.mode.Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return int64(len(e.data)) }
func (e entry) Mode() fs.FileMode          { return e.mode }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
