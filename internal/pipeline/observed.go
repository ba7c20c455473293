package pipeline

import (
	"maps"
	"slices"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

// Observed is the newest state of a Secret that was seen and dealt with: its
// files are in the volume, or it is refused, or nothing may be published yet.
type Observed struct {
	Present              bool // the API server has it
	UID, ResourceVersion string
	Refused              string // the reason, "" for none

	data map[string]secret.Value
}

// Observed has every Secret that was answered for, by name; nil before the first
// answer. A version is in it only after its publish has succeeded:
// who finds it here may rely on the volume. Versions that came later count as well
// if nothing had to be written for them, as after a change of labels: these do not
// wake the pipeline. Not while it works, though: what is being written may be a
// state in between, when the newest one equals the last that was dealt with.
func (p *Pipeline) Observed() map[string]Observed {
	observed := p.observed.Load()
	if observed == nil {
		return nil
	}
	if !p.pass.TryLock() {
		return *observed
	}
	defer p.pass.Unlock()
	all := maps.Clone(*p.observed.Load())
	for name, now := range p.Source.Snapshot().Secrets {
		o := all[name]
		if o.Present && o.UID == now.UID && maps.EqualFunc(o.data, now.Data, secret.Value.Equal) {
			o.ResourceVersion = now.ResourceVersion
			all[name] = o
		}
	}
	return all
}

// observe keeps what a pass has dealt with.
func (p *Pipeline) observe(s watcher.Snapshot, refused []layout.Refusal) {
	all := map[string]Observed{}
	_, set := p.Volume.Current()
	for name := range set.Secrets {
		if !s.Unanswered[p.Layout.Watch(name)] {
			all[name] = Observed{} // gone, unless it follows
		}
	}
	for _, name := range slices.Concat(p.Layout.Required, p.Layout.Optional) {
		if !s.Unanswered[watcher.WatchName(name)] {
			all[name] = Observed{}
		}
	}
	for name, s := range s.Secrets {
		all[name] = Observed{Present: true, UID: s.UID, ResourceVersion: s.ResourceVersion, data: s.Data}
	}
	for _, r := range refused {
		o := all[r.Secret]
		o.Refused = r.Reason
		all[r.Secret] = o
	}
	p.observed.Store(&all)
}
