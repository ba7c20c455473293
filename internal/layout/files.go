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

// files gives the files of one Secret, by path, or why it has none.
func (o Options) files(name string, s watcher.Secret) (map[string]secret.Value, *Refusal) {
	refuse := func(reason, format string, args ...any) (map[string]secret.Value, *Refusal) {
		return nil, &Refusal{Secret: name, Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
	if !isElement(name) {
		return refuse(ReasonBadName, "its name cannot be that of a directory")
	}
	for _, key := range o.RequiredKeys[name] {
		if value, ok := s.Data[key]; !ok {
			return refuse(ReasonMissingKey, "it lacks the required key %q (it has %s)", key, keys(s))
		} else if len(value) == 0 {
			return refuse(ReasonEmptyKey, "its required key %q is empty", key)
		}
	}
	items, restricted := o.Items[name]
	if !restricted {
		items = make(map[string]string, len(s.Data))
		for key := range s.Data {
			if !isElement(key) {
				return refuse(ReasonBadName, "its key %q cannot be the name of a file", key)
			}
			items[key] = key
		}
	}
	out := make(map[string]secret.Value, len(items))
	for _, key := range slices.Sorted(maps.Keys(items)) {
		value, ok := s.Data[key]
		if !ok {
			return refuse(ReasonMissingItem, "it lacks the key %q that SECRETSYNC_ITEMS names (it has %s)", key, keys(s))
		}
		out[items[key]] = value
	}
	if len(out) == 0 {
		return refuse(ReasonNoKeys, "it has no keys")
	}
	return out, nil
}

// isElement reports whether s can be one element of a path and is none of the
// writer's own names. The API server checks that too; what is answered in its
// place may not have.
func isElement(s string) bool {
	return fs.ValidPath(s) && s != "." && !strings.HasPrefix(s, "..") && !strings.Contains(s, "/") && len(s) <= 253
}

// keys lists the keys of a Secret for an error, or as many as make a readable one.
func keys(s watcher.Secret) string {
	const most = 20
	names := slices.Sorted(maps.Keys(s.Data))
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%q and %d more", names[:most], len(names)-most)
	}
	return fmt.Sprintf("%q", names)
}
