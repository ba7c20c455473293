// Package entry makes, compares and removes the entries of a plan in a volume, one
// directory, file or link at a time. It promises that an entry that has its name is
// whole and on disk, and knows by their form which entries this program made. It must
// not know which generation is the current one.
package entry

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/mount"
)

// Volume is a volume whose entries are made as a plan has them.
type Volume struct{ mount.Volume }

// Differs reports whether an entry is not in the volume as planned.
func (v Volume) Differs(e generation.Entry) bool {
	if e.IsLink() {
		target, err := v.Readlink(e.Path)
		return err != nil || target != e.Target
	}
	info, err := v.Lstat(e.Path)
	if err != nil || info.Mode.Type() != e.Mode.Type() || info.Mode.Perm() != e.Mode.Perm() {
		return true
	}
	if e.Mode.IsDir() { // also with setgid, of an fsGroup
		return false
	}
	data, err := v.ReadFile(e.Path)
	return err != nil || !e.Data.Equal(data)
}

// Create makes a new entry with the planned mode, past any umask: a directory, a
// link, or a file that is whole and on disk.
func (v Volume) Create(e generation.Entry) error {
	switch {
	case e.IsLink():
		return v.Symlink(e.Target, e.Path)
	case !e.Mode.IsDir():
		return v.createFile(e)
	}
	if err := v.Mkdir(e.Path, e.Mode); err != nil {
		return err
	}
	return v.setMode(e)
}

func (v Volume) createFile(e generation.Entry) (err error) {
	f, err := v.Volume.Create(e.Path, e.Mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(e.Data); err != nil {
		return err
	}
	if err := v.setMode(e); err != nil {
		return err
	}
	return f.Sync()
}

// setMode sets the mode of a file or a directory where umask or a default ACL took
// something of it. It leaves a right mode alone: each chmod is an event for every
// watch, and the kernel takes the setgid bit (of an fsGroup) from a directory when a
// process that is not in its group sets any mode.
func (v Volume) setMode(e generation.Entry) error {
	info, err := v.Lstat(e.Path)
	if err != nil || info.Mode.Perm() == e.Mode.Perm() {
		return err
	}
	return v.Chmod(e.Path, e.Mode.Perm()|info.Mode&fs.ModeSetgid)
}

// Put makes an entry as planned, whatever has its name. A directory that is there
// keeps what is in it.
func (v Volume) Put(e generation.Entry) error {
	switch info, err := v.Lstat(e.Path); {
	case err != nil && !errors.Is(err, fs.ErrNotExist): // what cannot be looked at is not replaced
		return err
	case e.Mode.IsDir() && err == nil && info.Mode.IsDir():
		return v.setMode(e)
	}
	return v.Replace(e)
}

// Replace puts an entry in the place of another one, or of none, in one step: made
// under a temporary name beside it, then renamed. What a failure leaves there, the next
// attempt, or else the writer, removes.
func (v Volume) Replace(e generation.Entry) error {
	tmp := path.Join(path.Dir(e.Path), generation.Temporary)
	err := v.clearing(tmp, func() error { return v.make(tmp, e) })
	if err == nil {
		err = v.clearing(e.Path, func() error { return v.Rename(tmp, e.Path) })
	}
	if err == nil || !v.Differs(e) && v.IsGone(tmp) { // it failed but did happen
		return nil
	}
	return err
}

// make makes an entry, whole and on disk, under another name. A Secret's directory
// has its ..data by then, so that a crash never leaves one that cannot be
// distinguished from somebody else's.
func (v Volume) make(name string, e generation.Entry) error {
	at := e
	at.Path = name
	if err := v.Create(at); err != nil || !e.Mode.IsDir() {
		return err
	}
	target := generation.OwnTarget(path.Join(e.Path, generation.DataLink))
	if err := v.Symlink(target, path.Join(name, generation.DataLink)); err != nil {
		return err
	}
	return v.SyncDir(name)
}

// clearing makes a call, and again without what has the name: it is of a crash, or
// someone put it there.
func (v Volume) clearing(name string, call func() error) error {
	err := call()
	for _, taken := range []error{fs.ErrExist, syscall.EISDIR, syscall.ENOTDIR} {
		if errors.Is(err, taken) {
			if err := v.RemoveAll(name); err != nil {
				return fmt.Errorf("take back %q: %w", name, err)
			}
			return call()
		}
	}
	return err
}
