// Package layout turns a snapshot of Secrets into the set of files of a
// generation. It is one pure function, Make, and what that is made of: it knows
// neither a clock nor a file system nor a network.
package layout

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

// Options say which files are wanted.
type Options struct {
	Flat         bool
	Required     []string                          // names of Secrets
	Optional     []string                          // names of Secrets that may be absent
	Selector     bool                              // whether there is one
	Items        map[string]map[string]string      // Secret → key → path; a Secret that is not here gives all keys
	Modes        map[string]map[string]fs.FileMode // Secret → path → the file's own mode
	RequiredKeys map[string][]string               // Secret → keys
}

// Input is what the files are made from.
type Input struct {
	Snapshot watcher.Snapshot
	// Previous is what is in the volume, if Published.
	Previous  writer.Set
	Published bool
	// Removed has the Secrets that are gone and whose files are to go too. Files
	// of others that are gone stay.
	Removed map[string]bool
}

// The reasons for which a Secret is refused, as the metrics have them.
const (
	ReasonNoKeys      = "no_keys"
	ReasonMissingKey  = "missing_key"
	ReasonEmptyKey    = "empty_key"
	ReasonMissingItem = "missing_item"
	ReasonBadName     = "bad_name"
	ReasonConflict    = "path_conflict"
)

// Refusal says why a Secret is not laid out as it is now. Its last good files
// stay, if there are any.
type Refusal struct {
	Secret string
	Reason string // one of the constants above
	Detail string // for people; names only
}

// Plan is what to do.
type Plan struct {
	Set     writer.Set
	Refused []Refusal // by name
	// Waiting says why nothing can be published yet, one reason each; empty: Set
	// is to be published.
	Waiting []string
	// Answered: every watch has been answered: the Set is all there is.
	Answered bool
	// Confirmed: Set has every required Secret as the API has it now.
	Confirmed bool
}

// Make lays out the Secrets of in. A Secret that cannot be laid out is refused
// and holds nobody back but in a first generation, which has all that is
// required or is not published.
func Make(o Options, in Input) Plan {
	p := &planner{o: o, in: in, chosen: map[string]writer.Files{}, refused: map[string]Refusal{}}
	p.lay()
	p.keep()
	if o.Flat {
		p.settleConflicts()
	}
	return p.plan()
}

// planner holds the state of one Make.
type planner struct {
	o       Options
	in      Input
	chosen  map[string]writer.Files
	refused map[string]Refusal
}

// lay lays out each Secret that exists.
func (p *planner) lay() {
	for name, s := range p.in.Snapshot.Secrets {
		content, refusal := p.o.files(name, s)
		if refusal != nil {
			p.refuse(*refusal)
			continue
		}
		p.chosen[name] = writer.Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Content: content, Modes: p.o.Modes[name]}
	}
}

// refuse leaves a Secret at its last good files.
func (p *planner) refuse(r Refusal) {
	p.refused[r.Secret] = r
	delete(p.chosen, r.Secret)
	if was, ok := p.in.Previous.Secrets[r.Secret]; ok {
		p.chosen[r.Secret] = was
	}
}

// keep adds what is in the volume of Secrets that are not there, or not known
// yet. What nothing in the configuration asks for any more goes.
func (p *planner) keep() {
	for name, files := range p.in.Previous.Secrets {
		if _, exists := p.in.Snapshot.Secrets[name]; exists {
			continue
		}
		wanted := p.o.named(name) || p.o.Selector
		unknown := p.in.Snapshot.Unanswered[p.o.Watch(name)]
		if wanted && (unknown || !p.in.Removed[name]) {
			p.chosen[name] = files
		}
	}
}

func (o Options) named(name string) bool {
	return slices.Contains(o.Required, name) || slices.Contains(o.Optional, name)
}

// Watch is the name of the watch that a Secret is taken from.
func (o Options) Watch(name string) string {
	if o.named(name) {
		return watcher.WatchName(name)
	}
	return watcher.SelectorWatch
}

func (p *planner) plan() Plan {
	out := Plan{
		Set:      writer.Set{Secrets: p.chosen},
		Answered: len(p.in.Snapshot.Unanswered) == 0,
	}
	for _, name := range slices.Sorted(maps.Keys(p.refused)) {
		out.Refused = append(out.Refused, p.refused[name])
	}
	missing := p.missing()
	out.Set.Complete = out.Answered && len(missing) == 0 && (!p.o.Selector || p.anySelected())
	out.Confirmed = out.Set.Complete && p.requiredAreCurrent()
	if !p.in.Published {
		out.Waiting = p.waiting(missing, out.Set.Complete)
	}
	return out
}

// missing lists the required Secrets that have no files.
func (p *planner) missing() (names []string) {
	for _, name := range p.o.Required {
		if _, ok := p.chosen[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

func (p *planner) anySelected() bool {
	for name := range p.chosen {
		if !p.o.named(name) {
			return true
		}
	}
	return false
}

func (p *planner) requiredAreCurrent() bool {
	for _, name := range p.o.Required {
		_, exists := p.in.Snapshot.Secrets[name]
		_, refused := p.refused[name]
		if !exists || refused {
			return false
		}
	}
	return true
}

// waiting says what keeps a first generation back.
func (p *planner) waiting(missing []string, complete bool) (why []string) {
	for _, watch := range slices.Sorted(maps.Keys(p.in.Snapshot.Unanswered)) {
		why = append(why, fmt.Sprintf("no answer yet for %s", watch))
	}
	for _, name := range missing {
		if r, ok := p.refused[name]; ok {
			why = append(why, fmt.Sprintf("Secret %q cannot be laid out: %s", name, r.Detail))
		} else if !p.in.Snapshot.Unanswered[p.o.Watch(name)] {
			why = append(why, fmt.Sprintf("Secret %q does not exist", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.refused)) {
		if r := p.refused[name]; r.Reason == ReasonConflict && !slices.Contains(missing, name) {
			why = append(why, fmt.Sprintf("Secret %q cannot be laid out: %s", name, r.Detail))
		}
	}
	if len(why) == 0 && len(p.chosen) == 0 && !complete {
		why = append(why, "no Secret matches the selector")
	}
	return why
}
