package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	maxElement = 255  // NAME_MAX on Linux, in bytes
	maxPath    = 3840 // PATH_MAX, less the directories above
)

// Validate checks the paths of the record. Each must stay inside a generation, use no name of this program, and not
// conflict with another path. This is the last check before anything is written. It also checks records from the
// volume, which another process may have forged.
func (r *Record) Validate() error {
	if r.Since > r.Generation || r.removals() > maxRemoved {
		return fmt.Errorf("%d removals since generation %d, above the limits", r.removals(), r.Since)
	}
	for p, removals := range r.Removed {
		if !ValidPath(p) || len(removals) == 0 || slices.ContainsFunc(removals, r.isLater) {
			return fmt.Errorf("invalid removal of %.99q", p)
		}
	}
	files := map[string]bool{}
	for name, s := range r.Secrets {
		if !validName(name) {
			return fmt.Errorf("%.99q cannot be the name of a Secret's directory", name)
		}
		if s.Generation == 0 || s.Generation > r.Generation {
			return fmt.Errorf("invalid generation %d of Secret %q", s.Generation, name)
		}
		if err := r.addValid(files, name, s.Files); err != nil {
			return err
		}
	}
	if r.Layout != Flat && len(r.Unowned) > 0 {
		return errors.New("files without a Secret")
	}
	if err := r.addValid(files, "", r.Unowned); err != nil {
		return err
	}
	dirs := map[string]bool{}
	for p := range files {
		for d := path.Dir(p); d != "." && !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
			if files[d] {
				return fmt.Errorf("%q is a file, and %q requires a directory of that name", d, p)
			}
		}
	}
	return nil
}

// addValid adds the paths of a Secret's files to all, or returns the first error.
func (r *Record) addValid(all map[string]bool, secret string, files map[string]PathRecord) error {
	for file, rec := range files {
		p := r.Layout.Path(secret, file)
		switch {
		case r.isLater(rec):
			return fmt.Errorf("%q of Secret %q was changed by a later generation", file, secret)
		case !ValidPath(file) || len(p) > maxPath:
			return fmt.Errorf("invalid path %.99q in Secret %q", file, secret)
		case rec.Mode != 0 && !validMode(rec.Mode):
			return fmt.Errorf("invalid mode %o of %q in Secret %q", uint32(rec.Mode), file, secret)
		case all[p]:
			return fmt.Errorf("%q of Secret %q: another Secret uses this path", file, secret)
		}
		all[p] = true
	}
	return nil
}

// isLater reports whether rec names a generation after r.
func (r *Record) isLater(rec PathRecord) bool { return max(rec.Added, rec.Changed) > r.Generation }

// validName reports whether a record can contain a Secret of this name.
func validName(name string) bool { return ValidPath(name) && !strings.Contains(name, "/") }

// validMode reports whether a file may have this mode: permissions only, and the owner may read.
func validMode(mode fs.FileMode) bool { return mode&^0o777 == 0 && mode&0o400 != 0 }

// ValidPath reports whether p is relative and clean, and no element begins with
// "..", the prefix of this program's names.
func ValidPath(p string) bool {
	if !fs.ValidPath(p) || p == "." || len(p) > maxPath || strings.ContainsRune(p, 0) {
		return false
	}
	for element := range strings.SplitSeq(p, "/") {
		if len(element) > maxElement || strings.HasPrefix(element, "..") {
			return false
		}
	}
	return true
}
