package pipeline

import (
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/writer/generation"
)

const hintAfter = 5

// A repetition counts the generations in which only these keys of a Secret changed.
type repetition struct {
	keys   []string // paths of files
	count  int
	hinted bool
}

// hintRepeated logs a hint for each of the changed Secrets, once, if the same keys changed alone in hintAfter
// generations. Operators of Vault write the remaining lifetime beside a password, which changes at each refresh. A
// change of further keys between is a rotation and counts neither way.
func (p *Pipeline) hintRepeated(changed []string, before, after map[string]generation.Files) {
	for _, name := range changed {
		files, exists := after[name]
		if !exists {
			delete(p.repeated, name)
			continue
		}
		var keys []string
		for path, value := range files.Values {
			if old, found := before[name].Values[path]; !found || !old.Equal(value) {
				keys = append(keys, path)
			}
		}
		r := p.repeated[name]
		if len(keys) == len(files.Values) || r.count > 0 && len(keys) > len(r.keys) && subset(r.keys, keys) {
			continue
		}
		if len(keys) != len(r.keys) || !subset(r.keys, keys) {
			r.keys, r.count = keys, 0
		}
		if r.count++; r.count >= hintAfter && !r.hinted {
			r.hinted = true
			p.Logger.Info("a key changes repeatedly", "secret", name, "key", strings.Join(brief.List(keys), ", "),
				"hint", "if the app does not need this key, list the other keys in SECRETSYNC_ITEMS: each "+
					"change of the "+
					"key causes a generation and a notification")
		}
		p.repeated[name] = r
	}
}

// subset reports whether all contains every key.
func subset(keys, all []string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return !slices.Contains(all, key) })
}
