package pipeline

import (
	"maps"
	"slices"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

// Observed is the newest state of a Secret that was seen and dealt with: its
// files are in the volume, or it is refused, or nothing can be published yet.
type Observed struct {
	Present              bool // the API server has it
	UID, ResourceVersion string
	DataSince            string           // see watcher.Secret
	PreviousData         watcher.Interval // see watcher.Secret
	Refused              string           // the reason, "" for none

	data map[string]secret.Value
}

// Observed has every Secret that was answered for, by name. A version is in it
// only after its publish has succeeded: its files are in the volume.
//
// A later version for which nothing has to be written, as after a change of labels,
// does not wake the pipeline, and counts as well. Not while the pipeline works,
// though: between two states that are equal it can be writing another.
func (p *Pipeline) Observed() map[string]Observed {
	if !p.pass.TryLock() {
		return *p.observed.Load()
	}
	defer p.pass.Unlock()
	all := maps.Clone(*p.observed.Load())
	for name, now := range p.Source.Snapshot().Secrets {
		o := all[name]
		if o.Present && o.UID == now.UID && maps.EqualFunc(o.data, now.Data, secret.Value.Equal) {
			o.ResourceVersion, o.DataSince, o.PreviousData = now.ResourceVersion, now.DataSince, now.PreviousData
			all[name] = o
		}
	}
	return all
}

// see tells how a pass finds every Secret that was answered for.
func (p *Pipeline) see(s watcher.Snapshot, plan layout.Plan) map[string]Observed {
	all := map[string]Observed{}
	inVolume := slices.Collect(maps.Keys(plan.Set.Secrets))
	for _, name := range slices.Concat(p.Layout.Required, p.Layout.Optional, inVolume) {
		if !s.Unsynced[p.Layout.Watch(name)] {
			all[name] = Observed{} // gone, unless it follows
		}
	}
	for name, s := range s.Secrets {
		all[name] = Observed{
			Present: true, UID: s.UID, ResourceVersion: s.ResourceVersion,
			DataSince: s.DataSince, PreviousData: s.PreviousData, data: s.Data,
		}
	}
	for _, r := range plan.Refused {
		o := all[r.Secret]
		o.Refused = r.Reason
		all[r.Secret] = o
	}
	return all
}
