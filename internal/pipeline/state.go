package pipeline

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

// A SecretState is the newest processed version of a Secret: its files are in the volume, or it is rejected, or
// nothing can be published yet. Of a deleted Secret, only the UID and the version remain.
type SecretState struct {
	watcher.Secret
	Present  bool   // whether the Secret exists
	Rejected string // the reason, "" for none
}

// Secrets returns the state of every synced Secret by name. It contains a version only after the
// publish of the version succeeded. The caller must not modify the map.
func (p *Pipeline) Secrets() map[string]SecretState {
	if p.step.TryLock() { // a step may be publishing a version between two equal versions
		p.compareVersions(p.Source.Snapshot())
		p.step.Unlock()
	}
	return *p.states.Load()
}

// compareVersions updates the states whose version differs from the snapshot. A newer version with the same
// data, for example after a change of labels, does not wake the pipeline and counts as processed. Other data at
// the same version or a lower version means that the cluster was restored from a backup. The state then loses
// its version: the files may still have the old data, for example because publishes fail, and the restored
// cluster may use the number of the version again.
func (p *Pipeline) compareVersions(s watcher.Snapshot) {
	states := maps.Clone(*p.states.Load())
	for name, now := range s.Secrets {
		state, known := states[name]
		if !known || state.UID != now.UID {
			continue
		}
		same := maps.EqualFunc(state.Data, now.Data, secret.Value.Equal)
		order, err := resourceversion.CompareResourceVersion(now.ResourceVersion, state.ResourceVersion)
		if same && state.Present {
			state.Secret = now
		} else if !same && err == nil && order <= 0 {
			state.Secret = watcher.Secret{UID: state.UID, Data: state.Data}
		}
		states[name] = state
	}
	p.states.Store(&states)
}

// statesOf returns the state of every synced Secret in a snapshot.
func (p *Pipeline) statesOf(s watcher.Snapshot, result layout.Result) map[string]SecretState {
	states, named := map[string]SecretState{}, slices.Concat(p.Rules.Required, p.Rules.Optional)
	for _, name := range slices.AppendSeq(named, maps.Keys(result.Content.Secrets)) {
		if !s.Unsynced[p.Rules.Watch(name)] {
			last := (*p.states.Load())[name] // deleted, unless the snapshot contains it
			states[name] = SecretState{Secret: watcher.Secret{UID: last.UID, ResourceVersion: last.ResourceVersion}}
		}
	}
	for name, s := range s.Secrets {
		states[name] = SecretState{Secret: s, Present: true}
	}
	for _, r := range result.Rejected {
		state := states[r.Secret]
		state.Rejected = r.Reason
		states[r.Secret] = state
	}
	return states
}
