package layout

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

// files returns the files of a Secret by path, or the reason to reject the Secret.
func (r Rules) files(name string, s watcher.Secret) (map[string]secret.Value, *Rejection) {
	reject := func(reason, format string, args ...any) (map[string]secret.Value, *Rejection) {
		return nil, &Rejection{Secret: name, Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
	keys := slices.Sorted(maps.Keys(s.Data))
	if !isFileName(name) {
		return reject(ReasonBadName, "its name cannot be the name of a directory")
	}
	for _, key := range r.RequiredKeys[name] {
		if value, ok := s.Data[key]; !ok {
			return reject(ReasonMissingKey, "the required key %q is missing; the Secret contains %q", key, brief.List(keys))
		} else if len(value) == 0 {
			return reject(ReasonEmptyKey, "the required key %q is empty", key)
		}
	}
	files := make(map[string]secret.Value, len(keys))
	items, restricted := r.Items[name]
	for _, key := range slices.Sorted(maps.Keys(items)) {
		value, ok := s.Data[key]
		if !ok {
			return reject(ReasonMissingItem, "the key %q of SECRETSYNC_ITEMS is missing; the Secret contains %q",
				key, brief.List(keys))
		}
		files[items[key].Path] = value
	}
	for _, key := range keys {
		if restricted {
			break
		}
		if !isFileName(key) {
			return reject(ReasonBadName, "the key %q cannot be the name of a file", key)
		}
		files[key] = s.Data[key]
	}
	if len(files) == 0 {
		return reject(ReasonNoKeys, "the Secret contains no keys")
	}
	return files, nil
}

// modes returns the modes of the items with a mode of their own, by path.
func (r Rules) modes(name string) (modes map[string]fs.FileMode) {
	for _, item := range r.Items[name] {
		if item.Mode != 0 {
			if modes == nil {
				modes = map[string]fs.FileMode{}
			}
			modes[item.Path] = item.Mode
		}
	}
	return modes
}

// isFileName reports whether s can be an element of a path and is no name of secret-sync's own
// entries. The API server checks names too, but a proxy can answer in its place.
func isFileName(s string) bool {
	return fs.ValidPath(s) && s != "." && !strings.HasPrefix(s, "..") && !strings.Contains(s, "/") && len(s) <= 253
}
