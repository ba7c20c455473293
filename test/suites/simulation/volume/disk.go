// Package volume is a volume in memory, behind the interface that the writer makes
// its system calls through. Only the tests of the simulation use it; nothing of it
// is in the program.
//
// It promises to do what package mount does on a real one, with its errors, and to
// remember which entries somebody else changed. Who makes a call decides what
// becomes of it (Caller). It must not know Secrets, or how the program arranges
// what it writes.
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

// Inode is a file, a directory or a link in memory.
type Inode struct {
	Mode    fs.FileMode
	Data    []byte            // of a file; the target of a link
	Entries map[string]*Inode // of a directory

	// What harm did, until the program puts something of its own in its place.
	Foreign bool            // it was made or changed
	Touched map[string]bool // of a directory: these names were taken away or replaced
	Rebuilt bool            // a directory of the program's, in the place of what was harmed
}

// NewDir makes a directory that is in no other one yet.
func NewDir(mode fs.FileMode) *Inode {
	return &Inode{Mode: fs.ModeDir | mode.Perm(), Entries: map[string]*Inode{}, Touched: map[string]bool{}}
}

// NewFile makes a file.
func NewFile(mode fs.FileMode, data string) *Inode {
	return &Inode{Mode: mode.Perm(), Data: []byte(data)}
}

// NewLink makes a symbolic link.
func NewLink(target string) *Inode {
	return &Inode{Mode: fs.ModeSymlink | 0o777, Data: []byte(target)}
}

// IsLink reports whether there is an entry, and it is a link.
func (n *Inode) IsLink() bool { return n != nil && n.Mode.Type() == fs.ModeSymlink }

// IsForeign reports whether there is an entry, and somebody else made or changed it.
func (n *Inode) IsForeign() bool { return n != nil && n.Foreign }

// Plant is harm: it puts something in the place of whatever has the name.
func (n *Inode) Plant(name string, entry *Inode) {
	entry.Foreign = true
	n.set(name, entry, true)
}

// Take is harm: it takes away whatever has the name.
func (n *Inode) Take(name string) { n.set(name, nil, true) }

// set gives a directory an entry, nil to take it away. What the program takes away
// was harmed if it was not the program's own.
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

// Disk is the volume.
type Disk struct{ Root *Inode }

// NewDisk makes an empty one.
func NewDisk() *Disk { return &Disk{NewDir(0o777)} }

// errType is the mount's error for a file that is none.
var errType = errors.New("not a regular file")

// errOutside is for a link that leads out of the volume.
var errOutside = errors.New("outside of the volume")

// Resolve finds an entry as an app does. Links on the way are followed, at the end
// only if follow says so; none leads out of the volume.
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

// rename is rename(2) inside a directory.
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

// Tree lists all that is on the disk, path → what it is.
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

// entry is an Inode as ReadDir gives it.
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
