package generation

import (
	"io/fs"
	"maps"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// Files is what one Secret has in a generation.
type Files struct {
	UID, ResourceVersion string                  // go into the record, nothing is derived from them
	Content              map[string]secret.Value // by clean relative path; no element begins with ".."
	Modes                map[string]fs.FileMode  // by path, of files that do not have the volume's mode
}

// Set is what a generation contains, by the name of the Secret.
type Set struct {
	Complete bool
	Secrets  map[string]Files
}

// Equal reports whether the Secret of this name has exactly these files in s.
func (s Set) Equal(name string, files Files) bool {
	if len(s.Secrets[name].Content) != len(files.Content) || !maps.Equal(s.Secrets[name].Modes, files.Modes) {
		return false
	}
	for file, value := range files.Content {
		if !s.has(name, file, value) {
			return false
		}
	}
	return true
}

func (s Set) has(name, file string, value secret.Value) bool {
	v, ok := s.Secrets[name].Content[file]
	return ok && v.Equal(value)
}
