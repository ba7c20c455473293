// Package layout computes the files of a generation from a snapshot of the Secrets. Its
// function Make is pure: it uses no clock, no file system and no network.
package layout

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// Rules select the Secrets and their files.
type Rules struct {
	Layout       generation.Layout
	Required     []string // names of Secrets
	Optional     []string // names of optional Secrets
	Selector     bool     // whether there is a selector
	Items        Items
	RequiredKeys map[string][]string // by Secret
}

// Input contains everything that the files depend on.
type Input struct {
	Snapshot  watcher.Snapshot
	Previous  map[string]generation.Files // the files in the volume by Secret, without the Secrets to remove
	Published bool                        // whether the volume contains a generation, which may be empty
}

// The reasons for which a Secret is rejected, as the metrics name them.
const (
	ReasonNoKeys      = "no_keys"
	ReasonMissingKey  = "missing_key"
	ReasonEmptyKey    = "empty_key"
	ReasonMissingItem = "missing_item"
	ReasonBadName     = "bad_name"
	ReasonBadVariable = "bad_variable" // in a dotenv file
	ReasonConflict    = "path_conflict"
)

// A Rejection explains why the current version of a Secret cannot be published. The last good
// files of the Secret remain.
type Rejection struct {
	Secret string
	Reason string // a constant above
	Detail string // for people; contains names but no values
}

func (r Rejection) String() string {
	return fmt.Sprintf("Secret %q is rejected: %s", r.Secret, r.Detail)
}

// Result is the result of Make.
type Result struct {
	Content  generation.Content
	Rejected []Rejection // by name
	Waiting  []string    // the reasons not to publish Content; empty: publish it
	Synced   bool        // every watch is synced, so Content contains every Secret
	Current  bool        // Content contains every required Secret in its current version
}

// A maker is the state of a single Make.
type maker struct {
	Rules
	Input
	chosen   map[string]generation.Files
	rejected map[string]Rejection

	owner map[string]string   // the Secret of each claimed path in the flat layout
	paths map[string][]string // the paths that a Secret still has to claim
}

// Make returns the files for all Secrets of in. An invalid Secret is rejected and does not
// affect the others. Only the first generation waits for all required Secrets.
func Make(rules Rules, in Input) Result {
	m := &maker{Rules: rules, Input: in, chosen: map[string]generation.Files{}, rejected: map[string]Rejection{},
		owner: map[string]string{}, paths: map[string][]string{}}
	m.choose()
	if rules.Layout == generation.Flat {
		m.rejectConflicts()
	}
	return m.result()
}

// choose selects the files of each existing Secret. An absent Secret keeps its previous files,
// unless the rules no longer select it.
func (m *maker) choose() {
	for name, s := range m.Snapshot.Secrets {
		var rejection *Rejection
		if m.chosen[name], rejection = m.files(name, s); rejection != nil {
			m.reject(name, rejection)
		}
	}
	for name, files := range m.Previous {
		if !m.exists(name) && (m.named(name) || m.Selector) {
			m.chosen[name] = files
		}
	}
}

// reject restores the last good files of a Secret. If the Secret is rejected a second time,
// these files conflict with others too, and the Secret gets no files.
func (m *maker) reject(name string, r *Rejection) {
	previous, published := m.Previous[name]
	_, again := m.rejected[name]
	if m.chosen[name] = previous; again || !published {
		delete(m.chosen, name)
	}
	if r.Secret = name; !again {
		m.rejected[name] = *r
	}
}

func (m *maker) exists(name string) bool { _, ok := m.Snapshot.Secrets[name]; return ok }
func (r Rules) named(name string) bool {
	return slices.Contains(r.Required, name) || slices.Contains(r.Optional, name)
}

// Watch returns the name of the watch for a Secret.
func (r Rules) Watch(name string) string {
	if r.named(name) {
		return watcher.WatchName(name)
	}
	return watcher.SelectorWatch
}

func (m *maker) result() Result {
	r := Result{Content: generation.Content{Secrets: m.chosen}, Synced: len(m.Snapshot.Unsynced) == 0}
	for _, name := range slices.Sorted(maps.Keys(m.rejected)) {
		r.Rejected = append(r.Rejected, m.rejected[name])
	}
	present, current, selected := true, true, !m.Selector
	for _, name := range m.Required {
		_, chosen := m.chosen[name]
		present = present && chosen
		current = current && m.exists(name) && m.rejected[name].Reason == ""
	}
	for name := range m.chosen {
		selected = selected || !m.named(name)
	}
	r.Content.Complete = r.Synced && present && selected
	r.Current = r.Content.Complete && current
	if !m.Published {
		r.Waiting = m.waiting(r)
	}
	return r
}

// waiting returns the reasons not to publish a first generation.
func (m *maker) waiting(r Result) (reasons []string) {
	for _, watch := range slices.Sorted(maps.Keys(m.Snapshot.Unsynced)) {
		reasons = append(reasons, "no answer yet for "+watch)
	}
	for _, rejection := range r.Rejected {
		if rejection.Reason == ReasonConflict || slices.Contains(m.Required, rejection.Secret) {
			reasons = append(reasons, rejection.String())
		}
	}
	for _, name := range m.Required {
		if !m.exists(name) && !m.Snapshot.Unsynced[m.Watch(name)] {
			reasons = append(reasons, fmt.Sprintf("Secret %q does not exist", name))
		}
	}
	if len(reasons) == 0 && len(m.chosen) == 0 && !r.Content.Complete {
		reasons = append(reasons, "no Secret matches the selector")
	}
	return reasons
}

// rejectConflicts rejects Secrets until no two Secrets of the flat layout use the same path, and no path
// is both a file and a directory. A Secret with the path in the volume keeps it. If the path is new, the
// first Secret by name gets it, or the Secret with the file whose path is another's directory. A Secret
// claims its paths again only after it fell back to its last good files. Last good files conflict only after
// a change from the nested layout.
func (m *maker) rejectConflicts() {
	for _, name := range slices.Sorted(maps.Keys(m.chosen)) {
		m.claim(name)
	}
	for m.rejectDirectory() {
	}
}

// claim claims the paths of a Secret. A conflict can reject this Secret or a Secret that already claimed its paths. The
// rejected Secret then claims the paths of its last good files, and nothing remains for an earlier claim of that
// Secret.
func (m *maker) claim(name string) {
	m.paths[name] = slices.Sorted(maps.Keys(m.chosen[name].Values))
	for len(m.paths[name]) > 0 {
		file := m.paths[name][0]
		if other, taken := m.owner[file]; taken {
			m.decide(min(name, other), max(name, other), file, file)
		} else {
			m.owner[file], m.paths[name] = name, m.paths[name][1:]
		}
	}
}

// rejectDirectory reports whether it rejected a Secret because a path is both a file and a directory.
func (m *maker) rejectDirectory() bool {
	for _, file := range slices.Sorted(maps.Keys(m.owner)) {
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			if other, taken := m.owner[dir]; taken && other != m.owner[file] {
				m.decide(other, m.owner[file], dir, file)
				return true
			}
		}
	}
	return false
}

// decide rejects a or b: b, unless only the path of b is already in the volume. The rejected Secret claims the paths of
// its last good files.
func (m *maker) decide(a, b, fileA, fileB string) {
	_, hasA := m.Previous[a].Values[fileA]
	_, hasB := m.Previous[b].Values[fileB]
	if hasB && !hasA {
		a, b, fileA = b, a, fileB
	}
	for file := range m.chosen[b].Values {
		if m.owner[file] == b {
			delete(m.owner, file)
		}
	}
	m.reject(b, reject(ReasonConflict, "Secret %q already uses the path %q", a, fileA))
	m.claim(b)
}
