package generation

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

const (
	maxElement = 255  // bytes of one name on Linux (NAME_MAX)
	maxPath    = 3840 // of a path in a generation: PATH_MAX less DIR and TIME
)

// Validate refuses what does not belong below a generation: a path that points
// out of it or to a name of this program, and two paths that cannot both be there.
// It is the last look before the disk, and the one at a record that somebody may
// have forged.
func (r *Record) Validate() error {
	files := map[string]bool{}
	for name, s := range r.Secrets {
		if !ValidPath(name) || strings.Contains(name, "/") {
			return fmt.Errorf("%q cannot be the name of a Secret's directory", name)
		}
		for file, at := range s.Files {
			p := Path(r.Flat, name, file)
			switch {
			case at.Mode != 0 && !validMode(at.Mode):
				return fmt.Errorf("mode %o of %q of Secret %q is not one of files", uint32(at.Mode), file, name)
			case !ValidPath(file) || len(p) > maxPath:
				return fmt.Errorf("%q of Secret %q cannot be a path in the volume", file, name)
			case files[p]:
				return fmt.Errorf("%q of Secret %q: there is a file of this name already", file, name)
			}
			files[p] = true
		}
	}
	for p := range files {
		for d := path.Dir(p); d != "."; d = path.Dir(d) {
			if files[d] {
				return fmt.Errorf("%q: there is a file where %q has to be a directory", p, d)
			}
		}
	}
	return nil
}

// validMode reports whether a file may have these permissions: the owner may read,
// and there are no other bits.
func validMode(mode fs.FileMode) bool { return mode&^0o777 == 0 && mode&0o400 != 0 }

// ValidPath reports whether p is relative and clean, and no element of it begins
// with "..", as only this program's names do.
func ValidPath(p string) bool {
	if !fs.ValidPath(p) || p == "." || strings.ContainsRune(p, 0) {
		return false
	}
	for element := range strings.SplitSeq(p, "/") {
		if len(element) > maxElement || strings.HasPrefix(element, "..") {
			return false
		}
	}
	return true
}
