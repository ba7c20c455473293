package generation

import (
	"io/fs"
	"maps"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// Content is the Secrets of a generation, by name.
type Content struct {
	Complete bool
	Secrets  map[string]Files
}

// Files are the files of one Secret.
type Files struct {
	UID, ResourceVersion string                  // only copied into the record
	Values               map[string]secret.Value // by clean relative path; no element begins with ".."
	Modes                map[string]fs.FileMode  // by path; files without an entry use the volume's mode
}

// Equal reports whether f and other contain the same paths, values and modes.
func (f Files) Equal(other Files) bool {
	return maps.EqualFunc(f.Values, other.Values, secret.Value.Equal) && maps.Equal(f.Modes, other.Modes)
}
