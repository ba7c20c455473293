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
	Required     []string // names of Secrets
	Optional     []string // names of Secrets that can be absent
	Selector     bool     // whether there is one
	Items        Items
	RequiredKeys map[string][]string // by Secret
}

// Items contains the files of Secrets that do not have a file for each key, by Secret and key.
type Items map[string]map[string]Item

// An Item is a file for a key of a Secret.
type Item struct {
	Path string
	Mode fs.FileMode // 0: the mode of all files
}

// Input is what the files are made from.
type Input struct {
	Snapshot  watcher.Snapshot
	Previous  writer.Set      // what is in the volume, if Published
	Published bool            // there is a generation, be it an empty one
	Removed   map[string]bool // Secrets that are gone, and their files are to go; those of others stay
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
	Set       writer.Set
	Refused   []Refusal // by name
	Waiting   []string  // why nothing can be published yet; empty: Set is to be published
	Answered  bool      // every watch has been answered: Set is all there is
	Confirmed bool      // Set has every required Secret as the API has it now
}

// Make lays out the Secrets of in. A Secret that cannot be laid out is refused, and
// the others go on. Only a first generation has all that is required, or is not
// published.
func Make(o Options, in Input) Plan {
	p := &planner{o: o, in: in, chosen: map[string]writer.Files{}, refused: map[string]Refusal{}}
	p.choose()
	if o.Flat {
		p.settleConflicts()
	}
	return p.plan()
}

// planner is the state of one Make.
type planner struct {
	o       Options
	in      Input
	chosen  map[string]writer.Files
	refused map[string]Refusal
}

// choose lays out each Secret that exists. Of others that are wanted, what is in
// the volume stays, unless it is known that they are gone and their files are to
// go. What nothing in the configuration asks for any more goes.
func (p *planner) choose() {
	for name, s := range p.in.Snapshot.Secrets {
		content, reason, detail := p.o.files(name, s)
		if reason != "" {
			p.refuse(name, reason, detail)
			continue
		}
		p.chosen[name] = writer.Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Content: content, Modes: p.o.modes(name)}
	}
	for name, files := range p.in.Previous.Secrets {
		wanted := p.o.named(name) || p.o.Selector
		gone := p.in.Removed[name] && p.answered(name)
		if !p.exists(name) && wanted && !gone {
			p.chosen[name] = files
		}
	}
}

// refuse leaves a Secret at its last good files, and with none the second time.
func (p *planner) refuse(name, reason, detail string) {
	_, again := p.refused[name]
	if !again {
		p.refused[name] = Refusal{Secret: name, Reason: reason, Detail: detail}
	}
	if was, ok := p.in.Previous.Secrets[name]; ok && !again {
		p.chosen[name] = was
	} else {
		delete(p.chosen, name)
	}
}

func (p *planner) exists(name string) bool {
	_, ok := p.in.Snapshot.Secrets[name]
	return ok
}

func (p *planner) answered(name string) bool { return !p.in.Snapshot.Unsynced[p.o.Watch(name)] }

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
	out := Plan{Set: writer.Set{Secrets: p.chosen}, Answered: len(p.in.Snapshot.Unsynced) == 0}
	for _, name := range slices.Sorted(maps.Keys(p.refused)) {
		out.Refused = append(out.Refused, p.refused[name])
	}
	laidOut, current, selected := true, true, false
	for _, name := range p.o.Required {
		_, chosen := p.chosen[name]
		_, refused := p.refused[name]
		laidOut = laidOut && chosen
		current = current && p.exists(name) && !refused
	}
	for name := range p.chosen {
		selected = selected || !p.o.named(name)
	}
	out.Set.Complete = out.Answered && laidOut && (selected || !p.o.Selector)
	out.Confirmed = out.Set.Complete && current
	if !p.in.Published {
		out.Waiting = p.waiting(out)
	}
	return out
}

// waiting says what keeps a first generation back.
func (p *planner) waiting(out Plan) (why []string) {
	for _, watch := range slices.Sorted(maps.Keys(p.in.Snapshot.Unsynced)) {
		why = append(why, "no answer yet for "+watch)
	}
	for _, r := range out.Refused {
		if r.Reason == ReasonConflict || slices.Contains(p.o.Required, r.Secret) {
			why = append(why, fmt.Sprintf("Secret %q cannot be laid out: %s", r.Secret, r.Detail))
		}
	}
	for _, name := range p.o.Required {
		if !p.exists(name) && p.answered(name) {
			why = append(why, fmt.Sprintf("Secret %q does not exist", name))
		}
	}
	if len(why) == 0 && len(p.chosen) == 0 && !out.Set.Complete {
		why = append(why, "no Secret matches the selector")
	}
	return why
}
