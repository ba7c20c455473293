package writer

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

// validate refuses what does not belong below a generation: a path that leads
// out of it or to a name of ours, and two that cannot both be there. Whoever
// calls Publish has looked already; this is the last look before the disk, and
// the one at a record that somebody may have forged.
func validate(flat bool, secrets map[string]Files) error {
	kinds := map[string]string{} // path → "file" or "directory"
	for _, name := range sortedKeys(secrets) {
		if !validPath(name) || strings.Contains(name, "/") {
			return fmt.Errorf("%q cannot be the name of a Secret's directory", name)
		}
		for _, file := range sortedKeys(secrets[name].Content) {
			p := inGeneration(flat, name, file)
			if !validPath(file) || len(p) > maxPath {
				return fmt.Errorf("%q of Secret %q cannot be a path in the volume", file, name)
			}
			if kinds[p] != "" {
				return fmt.Errorf("%q of Secret %q is a %s of another one's already", file, name, kinds[p])
			}
			kinds[p] = "file"
			for d := path.Dir(p); d != "."; d = path.Dir(d) {
				if kinds[d] == "file" {
					return fmt.Errorf("%q of Secret %q needs a directory where there is a file", file, name)
				}
				kinds[d] = "directory"
			}
		}
	}
	return nil
}

// validPath tells whether p is relative and clean, and no element of it begins
// with "..", as only our names do.
func validPath(p string) bool {
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
