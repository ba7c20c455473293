package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// RemoveOwn removes an entry of this program, or the rest of it. It leaves other entries, and reports them as foreign
// if they lie directly in the volume. It calls more as RemoveAll does.
func (v Volume) RemoveOwn(name string, more func() bool) (foreign bool, err error) {
	if generation.GenerationName.MatchString(name) {
		// With a record, the rest of the directory would pass for a published generation.
		if err := v.RemoveAll(generation.RecordName(name), more); err != nil {
			return false, err
		}
		return false, v.RemoveAll(name, more)
	}
	link, dir, err := v.own(name)
	switch {
	case err != nil: // the entry may be our own
		return false, err
	case link, generation.IsOwn(path.Base(name)):
		return false, v.RemoveAll(name, more)
	case dir:
		return false, v.removeSecretDir(name, more)
	}
	return path.Dir(name) == ".", nil
}

// removeSecretDir removes a Secret's directory under the name of an unpublished generation. Under its own name and
// without its ..data, the directory would look foreign after a crash.
func (v Volume) removeSecretDir(name string, more func() bool) error {
	leftover := v.FreshName(time.Now())
	err := v.Rename(name, leftover)
	if err == nil {
		err = v.SyncDir(".") // otherwise a power failure may undo the rename but not the removals
	}
	if err == nil {
		err = v.RemoveAll(leftover, more)
	}
	return err
}

// ErrMoreEntries means that a later removal must continue.
var ErrMoreEntries = errors.New("too many entries to remove at a time")

// MaxRemoved is the number of entries removed at a time, in about a second. It is more than a publish of a supported
// size leaves behind.
const MaxRemoved = 50_000

// Limit returns a function that returns true MaxRemoved times, or until ctx ends.
func Limit(ctx context.Context) (more func() bool) {
	left := MaxRemoved
	return func() bool { left--; return left >= 0 && ctx.Err() == nil }
}

// RemoveAll removes an entry and everything below it. It succeeds if the entry does not exist. It calls more before
// each removal, and fails with ErrMoreEntries if more returns false.
//
// It moves the directories below a subdirectory up to name instead of entering them, so neither the depth of a planted
// tree nor the length of its paths matters.
func (v Volume) RemoveAll(name string, more func() bool) error {
	for moved := 0; more(); {
		if err := v.Remove(name); !isFull(err) {
			return err
		}
		err := v.empty(name, more, func(dir string) error {
			err := v.empty(dir, more, func(below string) error {
				moved++
				_ = v.Chmod(0o700, below) // the move changes its entry for the parent
				return v.Rename(below, path.Join(name, fmt.Sprint("..moved", moved)))
			})
			if err != nil {
				return err
			}
			return v.Remove(dir)
		})
		if err != nil {
			return err
		}
	}
	return ErrMoreEntries
}

// empty removes everything in a directory except its subdirectories, and calls each for them. A subdirectory may stay,
// because an earlier removal may have used its new name. Whoever planted the directory may have denied access to it.
func (v Volume) empty(dir string, more func() bool, each func(subdirectory string) error) (failed error) {
	_ = v.Chmod(0o700, dir)
	for e, err := range v.ReadDir(dir) {
		switch {
		case err != nil:
			return err
		case !more():
			return ErrMoreEntries
		case e.IsDir():
			err = each(path.Join(dir, e.Name()))
		default:
			err = v.Remove(path.Join(dir, e.Name()))
		}
		if !isFull(err) {
			failed = cmp.Or(failed, err)
		}
	}
	return failed
}

// isFull reports whether err means that a directory contains entries.
func isFull(err error) bool { return errors.Is(err, fs.ErrExist) } // the class of ENOTEMPTY

// maxNames limits the memory for the names of Files. It is twice the names of a supported volume.
const maxNames = 16 << 20

// Files returns the paths of the regular files below a directory, relative to it, the deepest last. It omits paths that
// no record may contain, and the rest after maxNames bytes: another process may have planted a tree of any size. It
// skips directories without permission, and returns an error if the process lacks a resource or the disk fails.
func (v Volume) Files(dir string) (all []string, err error) {
	left := maxNames
	for dirs := []string{""}; len(dirs) > 0; dirs = dirs[1:] {
		for e, err := range v.ReadDir(path.Join(dir, dirs[0])) {
			switch {
			case Unknown(err):
				return nil, err
			case err != nil:
				continue
			}
			name := path.Join(dirs[0], e.Name())
			left -= len(name) + 32
			switch {
			case left < 0:
				return all, nil
			case !generation.ValidPath(name):
			case e.IsDir():
				dirs = append(dirs, name)
			case e.Type().IsRegular():
				all = append(all, name)
			}
		}
	}
	return all, nil
}

// IsGone reports whether no entry has this name.
func (v Volume) IsGone(name string) bool {
	_, err := v.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// IsOwn reports whether this program created the entry of this name directly in the volume. It returns an error if this
// is unknown.
func (v Volume) IsOwn(name string) (bool, error) {
	link, dir, err := v.own(name)
	return link || dir || generation.IsOwn(name), err
}

// own reports whether an entry is a link with this program's target for its name, or a Secret's directory: it lies
// directly in the volume and contains such a link as ..data.
func (v Volume) own(name string) (link, dir bool, err error) {
	link, err = v.isOwnLink(name)
	if !link && err == nil && path.Dir(name) == "." {
		dir, err = v.isOwnLink(path.Join(name, generation.DataLink))
	}
	return link, dir, err
}

func (v Volume) isOwnLink(name string) (bool, error) {
	target, err := v.Readlink(name)
	if Unknown(err) {
		return false, err
	}
	return err == nil && target == generation.OwnTarget(name), nil
}
