package pipeline

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/writer/generation"
)

const hintAfter = 5

// A repetition counts the generations in which exactly these keys of a Secret changed.
type repetition struct {
	keys   []string // paths of files, sorted
	count  int
	hinted bool
}

// hintRepeated logs a hint, once for each Secret, after hintAfter generations in which the same keys changed and the
// others did not. Operators of Vault write the remaining lifetime beside a password, and it changes at each refresh. If
// further keys change as well, the password was rotated: such a generation neither counts nor resets the count.
func (p *Pipeline) hintRepeated(changed []string, before, after map[string]generation.Files) {
	for _, name := range changed {
		if _, exists := after[name]; !exists {
			delete(p.repeated, name)
			continue
		}
		keys, r := changedKeys(before[name], after[name]), p.repeated[name]
		switch {
		case len(keys) == 0 || len(keys) == len(after[name].Values):
			continue
		case r.count > 0 && len(keys) > len(r.keys) && sets.New(keys...).HasAll(r.keys...):
			continue
		case !slices.Equal(keys, r.keys):
			r.keys, r.count = keys, 0
		}
		if r.count++; r.count >= hintAfter && !r.hinted {
			r.hinted = true
			p.Logger.Info("a key changes repeatedly", "secret", name, "key", strings.Join(brief.List(keys), ", "),
				"hint", "if the app does not need this key, list the other keys in SECRETSYNC_ITEMS: "+
					"each change of the key causes a generation and a notification")
		}
		p.repeated[name] = r
	}
}

// changedKeys returns the new keys and the keys with another value, sorted.
func changedKeys(before, after generation.Files) (keys []string) {
	for key, value := range after.Values {
		if old, found := before.Values[key]; !found || !old.Equal(value) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
