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
	Set       generation.Content
	Rejected  []Rejection // by name
	Waiting   []string    // the reasons not to publish Set; empty: publish it
	Synced    bool        // every watch is synced, so Set contains every Secret
	Confirmed bool        // Set contains every required Secret in its current version
}

// planner is the state of a single Make.
type planner struct {
	Rules
	Input
	chosen   map[string]generation.Files
	rejected map[string]Rejection

	owner     map[string]string   // the Secret of each claimed path in the flat layout
	paths     map[string][]string // the paths that a Secret still has to claim
	unclaimed []string            // the Secrets with such paths; the last Secret is next
}

// Make returns the files for all Secrets of in. An invalid Secret is rejected and does not
// affect the others. Only the first generation waits for all required Secrets.
func Make(rules Rules, in Input) Result {
	p := &planner{Rules: rules, Input: in, chosen: map[string]generation.Files{}, rejected: map[string]Rejection{},
		owner: map[string]string{}, paths: map[string][]string{}}
	p.choose()
	if rules.Layout == generation.Flat {
		p.rejectConflicts()
	}
	return p.result()
}

// choose selects the files of each existing Secret. An absent Secret keeps its previous files,
// unless the rules no longer select it.
func (p *planner) choose() {
	for name, s := range p.Snapshot.Secrets {
		var rejection *Rejection
		if p.chosen[name], rejection = p.files(name, s); rejection != nil {
			p.reject(name, rejection)
		}
	}
	for name, files := range p.Previous {
		if !p.exists(name) && (p.named(name) || p.Selector) {
			p.chosen[name] = files
		}
	}
}

// reject restores the last good files of a Secret. If the Secret is rejected a second time,
// these files conflict with others too, and the Secret gets no files.
func (p *planner) reject(name string, r *Rejection) {
	previous, published := p.Previous[name]
	_, again := p.rejected[name]
	if p.chosen[name] = previous; again || !published {
		delete(p.chosen, name)
	}
	if r.Secret = name; !again {
		p.rejected[name] = *r
	}
}

func (p *planner) exists(name string) bool { _, ok := p.Snapshot.Secrets[name]; return ok }
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

func (p *planner) result() Result {
	r := Result{Set: generation.Content{Secrets: p.chosen}, Synced: len(p.Snapshot.Unsynced) == 0}
	for _, name := range slices.Sorted(maps.Keys(p.rejected)) {
		r.Rejected = append(r.Rejected, p.rejected[name])
	}
	present, current, selected := true, true, !p.Selector
	for _, name := range p.Required {
		_, chosen := p.chosen[name]
		present = present && chosen
		current = current && p.exists(name) && p.rejected[name].Reason == ""
	}
	for name := range p.chosen {
		selected = selected || !p.named(name)
	}
	r.Set.Complete = r.Synced && present && selected
	r.Confirmed = r.Set.Complete && current
	if !p.Published {
		r.Waiting = p.waiting(r)
	}
	return r
}

// waiting returns the reasons not to publish a first generation.
func (p *planner) waiting(r Result) (reasons []string) {
	for _, watch := range slices.Sorted(maps.Keys(p.Snapshot.Unsynced)) {
		reasons = append(reasons, "no answer yet for "+watch)
	}
	for _, rejection := range r.Rejected {
		if rejection.Reason == ReasonConflict || slices.Contains(p.Required, rejection.Secret) {
			reasons = append(reasons, rejection.String())
		}
	}
	for _, name := range p.Required {
		if !p.exists(name) && !p.Snapshot.Unsynced[p.Watch(name)] {
			reasons = append(reasons, fmt.Sprintf("Secret %q does not exist", name))
		}
	}
	if len(reasons) == 0 && len(p.chosen) == 0 && !r.Set.Complete {
		reasons = append(reasons, "no Secret matches the selector")
	}
	return reasons
}

// rejectConflicts rejects Secrets until no two Secrets of the flat layout use the same path, and no path
// is both a file and a directory. A Secret with the path in the volume keeps it. If the path is new, the
// first Secret by name gets it. A Secret claims its paths again only after it fell back to its last good
// files. These conflict only after a change from the nested layout.
func (p *planner) rejectConflicts() {
	p.unclaimed = slices.Sorted(maps.Keys(p.chosen))
	slices.Reverse(p.unclaimed)
	for again := true; again; again = p.rejectDirectory() {
		for len(p.unclaimed) > 0 {
			p.claim(p.unclaimed[len(p.unclaimed)-1])
		}
	}
}

// claim claims the next path of the last Secret in unclaimed.
func (p *planner) claim(name string) {
	paths, begun := p.paths[name]
	if !begun {
		paths = slices.Sorted(maps.Keys(p.chosen[name].Values))
	}
	if len(paths) == 0 {
		p.unclaimed = p.unclaimed[:len(p.unclaimed)-1]
	} else if other, taken := p.owner[paths[0]]; taken {
		p.decide(min(name, other), max(name, other), paths[0], paths[0])
		return
	} else {
		p.owner[paths[0]], paths = name, paths[1:]
	}
	p.paths[name] = paths
}

// rejectDirectory reports whether it rejected a Secret because a path is both a file and a directory.
func (p *planner) rejectDirectory() bool {
	for _, file := range slices.Sorted(maps.Keys(p.owner)) {
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			if other, taken := p.owner[dir]; taken && other != p.owner[file] {
				p.decide(other, p.owner[file], dir, file)
				return true
			}
		}
	}
	return false
}

// decide rejects a or b: b, unless only the path of b is already in the volume. The rejected Secret is
// the next to claim the paths of its last good files.
func (p *planner) decide(a, b, fileA, fileB string) {
	_, hasA := p.Previous[a].Values[fileA]
	_, hasB := p.Previous[b].Values[fileB]
	if hasB && !hasA {
		a, b, fileB = b, a, fileA
	}
	for file := range p.chosen[b].Values {
		if p.owner[file] == b {
			delete(p.owner, file)
		}
	}
	delete(p.paths, b)
	p.unclaimed = append(p.unclaimed, b)
	p.reject(b, reject(ReasonConflict, "Secret %q already uses the path %q", a, fileB))
}
