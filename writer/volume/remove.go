package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// RemoveOwn removes an entry of this program, or the rest of it. It leaves other
// entries, and reports them as foreign if they lie directly in the volume.
func (v Volume) RemoveOwn(name string) (foreign bool, err error) {
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
		if err = v.RemoveAll(generation.RecordName(name)); err == nil {
			err = v.RemoveAll(name)
		}
	case generation.IsOwn(path.Base(name)):
		err = v.RemoveAll(name)
	case link:
		err = v.Remove(name)
	case dir:
		err = v.removeSecretDir(name)
	default:
		foreign = inVolume
	}
	return foreign, err
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

// RemoveGeneration removes a generation, and its record last: the next start recognizes
// an old generation by its record. It removes the known entries, children first, without
// listing their directories, which saves 12 of 22 calls for a single file. RemoveAll removes
// the rest, and returns the errors.
func (v Volume) RemoveGeneration(dir string, known []string) error {
	_ = v.Remove(known...)
	if err := v.RemoveAll(dir); err != nil {
		return err
	}
	return v.RemoveAll(generation.RecordName(dir))
}

// maxRemoved is more than the files of the largest generation, whose record would
// exceed MaxFile.
const maxRemoved = 100_000

var errMoreEntries = errors.New("too many entries to remove at a time")

// RemoveAll removes an entry and everything below it. It succeeds if the entry does
// not exist. It removes at most maxRemoved entries, and fails with errMoreEntries if
// there are more.
//
// It moves the directories below a subdirectory up to name instead of entering them,
// so neither the depth of a planted tree nor the length of its paths matters.
func (v Volume) RemoveAll(name string) error {
	left, moved := maxRemoved, 0
	for {
		if err := v.Remove(name); !errors.Is(err, fs.ErrExist) { // the class of ENOTEMPTY
			return err
		}
		dirs, err := v.empty(name, &left)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			below, err := v.empty(dir, &left)
			if err != nil {
				return err
			}
			for _, from := range below {
				moved++
				to := path.Join(name, fmt.Sprint("..moved", moved))
				err := v.allowing(dir, func() error {
					return v.allowing(from, func() error { return v.Rename(from, to) })
				})
				if err != nil && !errors.Is(err, fs.ErrExist) { // an earlier removal may have used the name
					return err
				}
			}
		}
		if err := v.Remove(dirs...); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// empty removes everything in a directory except its subdirectories, and returns
// their paths. It counts left down by the number of entries.
func (v Volume) empty(dir string, left *int) (dirs []string, err error) {
	var entries []fs.DirEntry
	err = v.allowing(dir, func() error {
		entries, err = v.ReadDir(dir)
		return err
	})
	var files []string
	for _, e := range entries {
		if *left--; *left < 0 {
			err = errMoreEntries
			break
		}
		if name := path.Join(dir, e.Name()); e.IsDir() {
			dirs = append(dirs, name)
		} else {
			files = append(files, name)
		}
	}
	if removeErr := v.allowing(dir, func() error { return v.Remove(files...) }); removeErr != nil {
		err = removeErr
	}
	return dirs, err
}

// allowing makes a call in a directory. If the mode of the directory denies the call,
// someone must have planted it: allowing changes the mode and repeats the call.
func (v Volume) allowing(dir string, call func() error) error {
	err := call()
	if errors.Is(err, fs.ErrPermission) && v.Chmod(0o700, dir) == nil {
		return call()
	}
	return err
}

// Files returns the paths of the regular files below a directory, relative to it. It
// returns an error if files may exist that it cannot list.
func (v Volume) Files(dir string) (all []string, err error) {
	entries, err := v.list(dir)
	if Unknown(err) {
		return nil, err
	}
	for _, e := range entries {
		switch {
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
