package entry

import (
	"errors"
	"io/fs"
	"path"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/mount"
)

// RemoveOwn removes what this program made, whatever part of it is left. What it did
// not make stays, and is reported if it lies directly in the volume.
func (v Volume) RemoveOwn(name string) (others bool, err error) {
	if _, err := v.Readlink(name); err != nil && !mount.IsNoLink(err) {
		return false, err // it may be ours
	}
	inVolume := path.Dir(name) == "."
	switch {
	case generation.GenerationName.MatchString(name):
		// The record goes first: part of a generation that has one would be taken for
		// what is left of one that apps read.
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

// removeSecretDir removes a Secret's directory under a temporary name: without its
// ..data it would be taken for somebody else's after a crash in the middle.
func (v Volume) removeSecretDir(name string) error {
	err := v.clearing(generation.Temporary, func() error { return v.Rename(name, generation.Temporary) })
	if err == nil {
		err = v.SyncDir(".") // else a power cut may undo the rename and not the removals
	}
	if err == nil {
		err = v.RemoveAll(generation.Temporary)
	}
	return err
}

// RemoveAll removes name and what is below it; that it is not there is no
// error. It follows no link. A directory whose mode keeps us out (planted: ours
// always let us in) is opened up first.
func (v Volume) RemoveAll(name string) error {
	err := v.remove(name)
	if !errors.Is(err, fs.ErrExist) { // what ENOTEMPTY is, too
		return err
	}
	info, err := v.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode.Perm()&0o700 != 0o700 {
		if err := v.Chmod(name, 0o700); err != nil {
			return err
		}
	}
	defer v.Hold(name)()
	entries, err := v.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := v.RemoveAll(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return v.remove(name)
}

func (v Volume) remove(name string) error {
	if err := v.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// IsGone reports whether nothing has this name.
func (v Volume) IsGone(name string) bool {
	_, err := v.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// IsOurs reports whether this program made what has a name directly in the volume.
func (v Volume) IsOurs(name string) bool {
	return generation.IsOwn(name) || v.isOwnLink(name) || v.isSecretDir(name)
}

// isOwnLink reports whether name is a link as this program makes them.
func (v Volume) isOwnLink(name string) bool {
	target, err := v.Readlink(name)
	return err == nil && target == generation.OwnTarget(name)
}

// isSecretDir reports whether name is a directory that this program made for a
// Secret.
func (v Volume) isSecretDir(name string) bool {
	info, err := v.Lstat(name)
	return err == nil && info.Mode.IsDir() && v.isOwnLink(path.Join(name, generation.DataLink))
}
