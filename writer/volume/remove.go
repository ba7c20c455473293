package volume

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// RemoveOwn removes an entry of this program, or the rest of it. It leaves other
// entries, and reports them as foreign if they lie directly in the volume. It calls more
// before each removal, as RemoveAll does.
func (v Volume) RemoveOwn(name string, more func() bool) (foreign bool, err error) {
	link, err := v.isOwnLink(name)
	inVolume, dir := path.Dir(name) == ".", false
	if err == nil && inVolume {
		dir, err = v.isSecretDir(name)
	}
	switch {
	case err != nil: // the entry may be our own
		return false, err
	case generation.GenerationName.MatchString(name):
		// The record goes first. With a record, the rest of the directory would
		// pass for a published generation.
		if err = v.RemoveAll(generation.RecordName(name), more); err == nil {
			err = v.RemoveAll(name, more)
		}
	case generation.IsOwn(path.Base(name)), link:
		err = v.RemoveAll(name, more)
	case dir:
		err = v.removeSecretDir(name, more)
	default:
		foreign = inVolume
	}
	return foreign, err
}

// removeSecretDir removes a Secret's directory under a temporary name. Under its own
// name and without its ..data, the directory would look foreign after a crash.
func (v Volume) removeSecretDir(name string, more func() bool) error {
	err := v.clearing(generation.Temporary, func() error { return v.Rename(name, generation.Temporary) })
	if err == nil {
		err = v.SyncDir(".") // otherwise a power failure may undo the rename but not the removals
	}
	if err == nil {
		err = v.RemoveAll(generation.Temporary, more)
	}
	return err
}

// RemoveGeneration removes a generation, and its record last: the next start recognizes
// an old generation by its record. It removes the known entries, children first, without
// listing their directories, which saves 12 of 22 calls for a single file. RemoveAll removes
// the rest, and returns the errors.
func (v Volume) RemoveGeneration(dir string, known []string) error {
	_ = v.Remove(known...)
	if err := v.RemoveAll(dir, atMost(MaxRemoved)); err != nil {
		return err
	}
	return v.RemoveAll(generation.RecordName(dir), atMost(MaxRemoved))
}

// MaxRemoved is the number of entries removed at a time, in about a second. It is more than
// a publish of a supported size leaves behind.
const MaxRemoved = 50_000

// ErrMoreEntries means that a later removal must continue.
var ErrMoreEntries = errors.New("too many entries to remove at a time")

// atMost returns a function that returns true n times.
func atMost(n int) (more func() bool) { return func() bool { n--; return n >= 0 } }

// RemoveAll removes an entry and everything below it. It succeeds if the entry does
// not exist. It calls more before each removal, and fails with ErrMoreEntries if more
// returns false.
//
// It moves the directories below a subdirectory up to name instead of entering them,
// so neither the depth of a planted tree nor the length of its paths matters.
func (v Volume) RemoveAll(name string, more func() bool) error {
	for moved := 0; more(); {
		if err := v.Remove(name); !isFull(err) {
			return err
		}
		dirs, err := v.empty(name, more)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			below, err := v.empty(dir, more)
			if err != nil {
				return err
			}
			for _, from := range below {
				moved++
				_ = v.Chmod(0o700, from) // the move changes its entry for the parent
				err := v.Rename(from, path.Join(name, fmt.Sprint("..moved", moved)))
				if err != nil && !isFull(err) { // an earlier removal may have used the name
					return err
				}
			}
		}
		if err := v.Remove(dirs...); err != nil && !isFull(err) {
			return err
		}
	}
	return ErrMoreEntries
}

// empty removes everything in a directory except its subdirectories, and returns
// their paths. Whoever planted the directory may have denied access to it.
func (v Volume) empty(dir string, more func() bool) (dirs []string, failed error) {
	_ = v.Chmod(0o700, dir)
	for e, err := range v.ReadDir(dir) {
		switch {
		case err != nil:
			return nil, err
		case !more():
			return nil, ErrMoreEntries
		}
		if name := path.Join(dir, e.Name()); e.IsDir() {
			dirs = append(dirs, name)
		} else {
			failed = cmp.Or(failed, v.Remove(name))
		}
	}
	return dirs, failed
}

// isFull reports whether err means that a directory contains entries.
func isFull(err error) bool { return errors.Is(err, fs.ErrExist) } // the class of ENOTEMPTY

// Files returns the paths of the regular files below a directory, relative to it. It
// returns an error if files may exist that it cannot list.
func (v Volume) Files(dir string) (all []string, err error) {
	for e, err := range v.ReadDir(dir) {
		switch {
		case Unknown(err):
			return nil, err
		case err != nil:
		case e.IsDir():
			below, err := v.Files(path.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			for _, name := range below {
				all = append(all, path.Join(e.Name(), name))
			}
		case e.Type().IsRegular():
			all = append(all, e.Name())
		}
	}
	return all, nil
}

// IsGone reports whether no entry has this name.
func (v Volume) IsGone(name string) bool {
	_, err := v.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// IsOwn reports whether this program created the entry of this name directly in the
// volume. It returns an error if this is unknown.
func (v Volume) IsOwn(name string) (bool, error) {
	own, err := v.isOwnLink(name)
	if !own && err == nil {
		own, err = v.isSecretDir(name)
	}
	return own || generation.IsOwn(name), err
}

// isOwnLink reports whether name is a link with this program's target for the name.
func (v Volume) isOwnLink(name string) (bool, error) {
	target, err := v.Readlink(name)
	if Unknown(err) {
		return false, err
	}
	return err == nil && target == generation.OwnTarget(name), nil
}

// isSecretDir reports whether name is a Secret's directory, created by this program.
func (v Volume) isSecretDir(name string) (bool, error) {
	return v.isOwnLink(path.Join(name, generation.DataLink))
}
