package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// Differs reports whether the volume lacks an entry or contains something else in
// its place. It returns an error if this is unknown.
func (v Volume) Differs(e generation.Entry) (bool, error) {
	found := generation.Entry{Mode: fs.ModeSymlink}
	var err error
	if e.Target != "" {
		found.Target, err = v.Readlink(e.Path)
	} else {
		var info Info
		info, err = v.Lstat(e.Path)
		found.Mode = info.Mode &^ fs.ModeSetgid
	}
	same := found.Mode == e.Mode && found.Target == e.Target
	if err == nil && same && e.Mode.IsRegular() {
		var data secret.Value
		data, err = v.ReadFile(e.Path)
		same = e.Data.Equal(data)
	}
	if Unknown(err) {
		return false, err
	}
	return err != nil || !same, nil
}

// Add creates an entry under a free name. A file is complete and on disk when Add returns. Add refuses a file that
// ReadFile could not read.
func (v Volume) Add(e generation.Entry) error {
	switch {
	case e.Target != "":
		return v.Symlink(e.Target, e.Path)
	case e.Mode.IsDir():
		return v.Mkdir(e.Path, e.Mode)
	case len(e.Data) > MaxFile:
		return ErrTooLarge
	}
	f, err := v.Create(e.Path, e.Mode)
	if err != nil {
		return err
	}
	_, err = f.Write(e.Data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Symlink creates a link. Its errors tell a file system without links from a directory of another UID.
func (v Volume) Symlink(target, name string) error {
	err := v.Calls.Symlink(target, name)
	if isAny(err, unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", errNoSymlinks, err)
	}
	return err
}

// Restore makes the volume contain an entry, whatever is in its place. An existing
// directory keeps its entries. If the place cannot be examined, it is left alone.
func (v Volume) Restore(e generation.Entry) error {
	info, err := v.Lstat(e.Path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case e.Mode.IsDir() && info.Mode.IsDir():
		return v.Chmod(e.Mode|info.Mode&fs.ModeSetgid, e.Path)
	}
	return v.Replace(e)
}

// Replace replaces whatever is in the place of an entry in a single step: it creates the entry under a temporary name
// and renames it. A failure may leave the temporary entry, which the next attempt replaces.
func (v Volume) Replace(e generation.Entry) error {
	tmp := path.Join(path.Dir(e.Path), generation.Temporary)
	err := v.clearing(tmp, func() error { return v.createAs(tmp, e) })
	if err == nil {
		err = v.clearing(e.Path, func() error { return v.Rename(tmp, e.Path) })
	}
	if err == nil {
		return nil
	}
	if differs, unknown := v.Differs(e); !differs && unknown == nil && v.IsGone(tmp) { // the failed call had succeeded
		return nil
	}
	return err
}

// Touch sets the mode of files to their present mode, which wakes the watches on them.
func (v Volume) Touch(entries []generation.Entry) error {
	files := map[fs.FileMode][]string{}
	for _, e := range entries {
		if e.Mode.IsRegular() {
			files[e.Mode] = append(files[e.Mode], e.Path)
		}
	}
	var errs []error
	for mode, names := range files {
		errs = append(errs, v.Chmod(mode, names...))
	}
	return errors.Join(errs...)
}

// createAs creates an entry under another name, complete and on disk. A Secret's directory contains its ..data from the
// start: without it, the next start could not tell the directory from a foreign one.
func (v Volume) createAs(name string, e generation.Entry) error {
	data := path.Join(e.Path, generation.DataLink)
	e.Path = name
	if err := v.Add(e); err != nil || !e.Mode.IsDir() {
		return err
	}
	if err := v.Symlink(generation.OwnTarget(data), path.Join(name, generation.DataLink)); err != nil {
		return err
	}
	return v.SyncDir(name)
}

// clearing makes a call for a free name. If the name is taken, by a leftover or by a planted entry, clearing removes
// the entry and repeats the call. It moves a directory with entries out of the way instead, however many there are:
// under the name of an unpublished generation, the directory is a leftover.
func (v Volume) clearing(name string, call func() error) error {
	err := call()
	if !isAny(err, fs.ErrExist, unix.EISDIR, unix.ENOTDIR, unix.ELOOP, unix.ENXIO) {
		return err
	}
	if err = v.Remove(name); isFull(err) {
		_ = v.Chmod(0o700, name) // the move changes its entry for the parent
		err = v.Rename(name, v.FreshName(time.Now()))
	}
	if err != nil {
		return fmt.Errorf("remove %q, which is in the way: %w", name, err)
	}
	return call()
}

// FreshName returns a free name for a generation's directory. The clock may stand still or go back.
func (v Volume) FreshName(now time.Time) string {
	for ; ; now = now.Add(1) {
		name := generation.NewName(now)
		if _, err := v.Lstat(name); err != nil {
			return name
		}
	}
}

// CheckFree returns an error if a foreign entry occupies the place of one of entries
// directly in the volume, which is mounted at dir. Such a volume belongs to someone else.
func (v Volume) CheckFree(dir string, entries []generation.Entry) error {
	var taken []error
	for _, e := range entries {
		if path.Dir(e.Path) != "." || v.IsGone(e.Path) {
			continue
		}
		own, err := v.IsOwn(e.Path)
		switch {
		case err != nil:
			return err
		case !own: // an own entry is the rest of an earlier first publish
			taken = append(taken, fmt.Errorf("%w: %q exists and was not created by secret-sync; "+
				"use an empty volume, or another SECRETSYNC_DIR",
				ErrUnusable, path.Join(dir, e.Path)))
		}
	}
	return errors.Join(taken...)
}
