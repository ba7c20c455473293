package layout

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

// files gives the files of one Secret, by path, or why it is refused.
func (o Options) files(name string, s watcher.Secret) (out map[string]secret.Value, reason, detail string) {
	has := slices.Sorted(maps.Keys(s.Data))
	if !isElement(name) {
		return nil, ReasonBadName, "its name cannot be that of a directory"
	}
	for _, key := range o.RequiredKeys[name] {
		if value, ok := s.Data[key]; !ok {
			return nil, ReasonMissingKey, fmt.Sprintf("it lacks the required key %q (it has %q)", key, has)
		} else if len(value) == 0 {
			return nil, ReasonEmptyKey, fmt.Sprintf("its required key %q is empty", key)
		}
	}
	items, restricted := o.Items[name]
	out = make(map[string]secret.Value, len(has))
	if !restricted {
		for _, key := range has {
			if !isElement(key) {
				return nil, ReasonBadName, fmt.Sprintf("its key %q cannot be the name of a file", key)
			}
			out[key] = s.Data[key]
		}
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		value, ok := s.Data[key]
		if !ok {
			return nil, ReasonMissingItem, fmt.Sprintf("it lacks the key %q that SECRETSYNC_ITEMS names (it has %q)", key, has)
		}
		out[items[key].Path] = value
	}
	if len(out) == 0 {
		return nil, ReasonNoKeys, "it has no keys"
	}
	return out, "", ""
}

// modes returns the modes of the files that have a mode of their own, by path.
func (o Options) modes(name string) (modes map[string]fs.FileMode) {
	for _, item := range o.Items[name] {
		if item.Mode == 0 {
			continue
		}
		if modes == nil {
			modes = map[string]fs.FileMode{}
		}
		modes[item.Path] = item.Mode
	}
	return modes
}

// isElement reports whether s can be one element of a path and is none of the
// writer's own names. The API server checks that too, but a proxy can answer in its
// place.
func isElement(s string) bool {
	return fs.ValidPath(s) && s != "." && !strings.HasPrefix(s, "..") && !strings.Contains(s, "/") && len(s) <= 253
}
