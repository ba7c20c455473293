package volume

import (
	"errors"
	"io/fs"
	"path"
	"strconv"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// RemoveOwn removes an entry of this program, or the rest of it. It leaves other
// entries, and reports them as foreign if they lie directly in the volume.
func (v Volume) RemoveOwn(name string) (foreign bool, err error) {
	if _, err := v.Readlink(name); err != nil && !NotALink(err) {
		return false, err // the entry may be our own
	}
	inVolume := path.Dir(name) == "."
	switch {
	case generation.GenerationName.MatchString(name):
		// The record goes first. With a record, the rest of the directory would
		// pass for a published generation.
		if err := v.RemoveAll(generation.RecordName(name)); err != nil {
			return false, err
		}
		return false, v.RemoveAll(name)
	case generation.IsOwn(path.Base(name)):
		return false, v.RemoveAll(name)
	case v.isOwnLink(name):
		return false, v.remove(name)
	case inVolume && v.isSecretDir(name):
		return false, v.removeSecretDir(name)
	}
	return inVolume, nil
}

// removeSecretDir removes a Secret's directory under a temporary name. Under its own
// name and without its ..data, the directory would look foreign after a crash.
func (v Volume) removeSecretDir(name string) error {
	err := v.clearing(generation.Temporary, func() error { return v.Rename(name, generation.Temporary) })
	if err == nil {
		err = v.SyncDir(".") // otherwise a power failure may undo the rename but not the removals
	}
	if err == nil {
		err = v.RemoveAll(generation.Temporary)
	}
	return err
}

// RemoveAll removes an entry and everything below it. It succeeds if the entry does
// not exist. If the mode of a directory, which someone must have planted, denies
// access, RemoveAll changes it. It removes at most maxRemoved entries, and fails with
// errMoreEntries if there are more.
func (v Volume) RemoveAll(name string) error {
	r := removal{Volume: v, top: name, left: maxRemoved}
	for {
		moved := r.moved
		if err := r.removeTree(name, 0); !errors.Is(err, fs.ErrExist) || r.moved == moved {
			return err
		}
	}
}

const (
	maxDepth   = 8 // directories on the way to an entry that is removed
	maxRemoved = 10_000
)

var errMoreEntries = errors.New("too many entries to remove at a time")

// A removal removes the directory top. It moves deeper directories up to top instead
// of entering them, so neither its recursion nor the length of a path is unbounded.
type removal struct {
	Volume
	top   string
	moved int // directories moved to top
	left  int // removals still allowed
}

// removeTree removes an entry and everything below it. It moves a directory at
// maxDepth to top instead.
func (r *removal) removeTree(name string, depth int) error {
	if r.left == 0 {
		return errMoreEntries
	}
	r.left--
	err := r.remove(name)
	switch {
	case !errors.Is(err, fs.ErrExist): // the class of ENOTEMPTY
		return err
	case depth == maxDepth:
		r.moved++
		return r.Rename(name, path.Join(r.top, "..moved"+strconv.Itoa(r.moved)))
	}
	if err := r.allowAccess(name); err != nil {
		return err
	}
	entries, err := r.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := r.removeTree(path.Join(name, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return r.remove(name)
}

func (r *removal) allowAccess(dir string) error {
	info, err := r.Lstat(dir)
	if err != nil || info.Mode.Perm()&0o700 == 0o700 {
		return err
	}
	return r.Chmod(dir, 0o700)
}

// remove removes a single entry, and succeeds if it does not exist.
func (v Volume) remove(name string) error {
	if err := v.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// IsGone reports whether no entry has this name.
func (v Volume) IsGone(name string) bool {
	_, err := v.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// IsOwn reports whether this program created the entry of this name directly in the
// volume.
func (v Volume) IsOwn(name string) bool {
	return generation.IsOwn(name) || v.isOwnLink(name) || v.isSecretDir(name)
}

// isOwnLink reports whether name is a link with this program's target for the name.
func (v Volume) isOwnLink(name string) bool {
	target, err := v.Readlink(name)
	return err == nil && target == generation.OwnTarget(name)
}

// isSecretDir reports whether name is a Secret's directory, created by this program.
func (v Volume) isSecretDir(name string) bool {
	info, err := v.Lstat(name)
	return err == nil && info.Mode.IsDir() && v.isOwnLink(path.Join(name, generation.DataLink))
}
