package pipeline

import (
	"slices"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/watcher"
)

// Observed is the newest state of a Secret that was seen and dealt with: its
// files are in the volume, or it is refused, or nothing may be published yet.
type Observed struct {
	Present              bool // the API server has it
	UID, ResourceVersion string
	Refused              string // the reason, "" for none
}

// Observed has every Secret that was answered for, by name. A version is in it
// only after the publish that it led to has succeeded: who finds it here may rely
// on the volume. The map is not to be changed; nil before the first answer.
func (p *Pipeline) Observed() map[string]Observed {
	if all := p.observed.Load(); all != nil {
		return *all
	}
	return nil
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
	for name, secret := range s.Secrets {
		all[name] = Observed{Present: true, UID: secret.UID, ResourceVersion: secret.ResourceVersion}
	}
	for _, r := range refused {
		o := all[r.Secret]
		o.Refused = r.Reason
		all[r.Secret] = o
	}
	p.observed.Store(&all)
}
