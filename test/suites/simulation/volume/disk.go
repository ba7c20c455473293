// Package volume is a volume in memory, behind the interface through which the writer makes
// its system calls. Only the tests of the simulation use it.
//
// It behaves like a real mount, including the errors, and remembers which entries were
// changed by something other than the program. A Caller decides the outcome of each call.
// The package knows nothing about Secrets or the layout of the program's files.
package volume

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

// An Inode is a file, a directory or a link in memory.
type Inode struct {
	Mode    fs.FileMode
	Data    []byte            // the content of a file, or the target of a link
	Entries map[string]*Inode // the entries of a directory

	// The harm, until the program replaces the entry.
	Foreign bool            // created or changed by harm
	Touched map[string]bool // the names in a directory, removed or replaced by harm
	Rebuilt bool            // the program created this directory in place of a harmed entry
}

// NewDir returns a directory without a parent.
func NewDir(mode fs.FileMode) *Inode {
	return &Inode{Mode: fs.ModeDir | mode.Perm(), Entries: map[string]*Inode{}, Touched: map[string]bool{}}
}

// NewFile returns a file.
func NewFile(mode fs.FileMode, data string) *Inode {
	return &Inode{Mode: mode.Perm(), Data: []byte(data)}
}

// NewLink returns a symbolic link.
func NewLink(target string) *Inode {
	return &Inode{Mode: fs.ModeSymlink | 0o777, Data: []byte(target)}
}

// IsLink reports whether n exists and is a link.
func (n *Inode) IsLink() bool { return n != nil && n.Mode.Type() == fs.ModeSymlink }

// IsForeign reports whether n exists and was created or changed by harm.
func (n *Inode) IsForeign() bool { return n != nil && n.Foreign }

// Plant does harm: it replaces the entry with this name, if any.
func (n *Inode) Plant(name string, entry *Inode) {
	entry.Foreign = true
	n.set(name, entry, true)
}

// Steal does harm: it removes the entry with this name.
func (n *Inode) Steal(name string) { n.set(name, nil, true) }

// set sets an entry of a directory; nil removes it. If the program removes a foreign
// entry, the entry was harmed before.
func (n *Inode) set(name string, entry *Inode, harm bool) {
	harm = harm || entry == nil && n.Entries[name].IsForeign()
	if harm {
		n.Touched[name] = true
	} else if entry != nil {
		entry.Rebuilt = entry.Rebuilt || n.Touched[name] || n.Entries[name].IsForeign()
		delete(n.Touched, name)
	}
	if entry == nil {
		delete(n.Entries, name)
	} else {
		n.Entries[name] = entry
	}
}

// A Disk is the volume.
type Disk struct{ Root *Inode }

// NewDisk returns an empty Disk.
func NewDisk() *Disk { return &Disk{NewDir(0o777)} }

// errType is the error of the real mount for an entry that is not a file.
var errType = errors.New("not a regular file")

// errOutside is returned for a link to a path outside of the volume.
var errOutside = errors.New("outside of the volume")

// Resolve finds an entry like an app. It follows links on the way, and the last link only
// if follow is set. A link out of the volume is an error.
func (d *Disk) Resolve(name string, follow bool) (*Inode, error) {
	stack, todo, hops := []*Inode{d.Root}, strings.Split(name, "/"), 0
	for len(todo) > 0 {
		element := todo[0]
		todo = todo[1:]
		at := stack[len(stack)-1]
		switch element {
		case "", ".":
			continue
		case "..":
			if len(stack) == 1 {
				return nil, errOutside
			}
			stack = stack[:len(stack)-1]
			continue
		}
		if !at.Mode.IsDir() {
			return nil, syscall.ENOTDIR
		}
		next := at.Entries[element]
		if next == nil {
			return nil, syscall.ENOENT
		}
		if !next.IsLink() || len(todo) == 0 && !follow {
			stack = append(stack, next)
			continue
		}
		if hops++; hops > 40 {
			return nil, syscall.ELOOP
		}
		target := string(next.Data)
		if path.IsAbs(target) {
			return nil, errOutside
		}
		todo = slices.Concat(strings.Split(target, "/"), todo)
	}
	return stack[len(stack)-1], nil
}

// rename is rename(2) within a directory.
func (n *Inode) rename(from, to string) error {
	moved, there := n.Entries[from], n.Entries[to]
	switch {
	case moved == nil:
		return syscall.ENOENT
	case moved == there:
		return nil
	case there == nil:
	case moved.Mode.IsDir() && !there.Mode.IsDir():
		return syscall.ENOTDIR
	case !moved.Mode.IsDir() && there.Mode.IsDir():
		return syscall.EISDIR
	case there.Mode.IsDir() && len(there.Entries) > 0:
		return syscall.ENOTEMPTY
	}
	n.set(from, nil, false)
	n.set(to, moved, false)
	return nil
}

// remove is unlink(2), or rmdir(2) for a directory.
func (n *Inode) remove(name string) error {
	switch there := n.Entries[name]; {
	case there == nil:
		return syscall.ENOENT
	case len(there.Entries) > 0:
		return syscall.ENOTEMPTY
	}
	n.set(name, nil, false)
	return nil
}

// Tree lists all entries on the disk: path → description.
func (d *Disk) Tree() map[string]string {
	all := map[string]string{}
	d.Root.list("", all)
	return all
}

func (n *Inode) list(below string, all map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(n.Entries)) {
		e := n.Entries[name]
		all[below+name] = e.Mode.String() + " " + string(e.Data)
		e.list(below+name+"/", all)
	}
}

// An entry is an Inode as returned by ReadDir.
type entry struct {
	name string
	*Inode
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.Inode.Mode.IsDir() }
func (e entry) Type() fs.FileMode          { return e.Inode.Mode.Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return int64(len(e.Data)) }
func (e entry) Mode() fs.FileMode          { return e.Inode.Mode }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
