package pipeline

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

// A SecretState is the newest processed version of a Secret: its files are in the volume, or it
// is rejected, or nothing can be published yet. Of a deleted Secret, only the UID and the
// version remain.
type SecretState struct {
	watcher.Secret
	Present  bool   // whether the Secret exists
	Rejected string // the reason, "" for none
}

// sameData reports whether both are the same Secret with the same data.
func (s SecretState) sameData(now watcher.Secret) bool {
	return s.UID == now.UID && maps.EqualFunc(s.Data, now.Data, secret.Value.Equal)
}

// Secrets returns the state of every synced Secret by name. It contains a version only after the
// publish of the version succeeded.
//
// A newer version with the same data, for example after a change of labels, does not wake the
// pipeline and counts as processed too. It does not count during a step: between two equal
// versions, the step may be publishing a different version.
func (p *Pipeline) Secrets() map[string]SecretState {
	if !p.step.TryLock() {
		return *p.states.Load()
	}
	defer p.step.Unlock()
	snapshot := p.Source.Snapshot()
	p.dropLostVersions(snapshot)
	states := maps.Clone(*p.states.Load())
	for name, now := range snapshot.Secrets {
		if state := states[name]; state.Present && state.sameData(now) {
			state.Secret = now
			states[name] = state
		}
	}
	return states
}

// dropLostVersions clears the version of a Secret if the snapshot contains other data at this
// version or a lower version: the cluster was restored from a backup. The files may still
// have the old data, for example because publishes fail, and the restored cluster may use the
// number of the version again.
func (p *Pipeline) dropLostVersions(s watcher.Snapshot) {
	states := maps.Clone(*p.states.Load())
	for name, now := range s.Secrets {
		state := states[name]
		order, err := resourceversion.CompareResourceVersion(now.ResourceVersion, state.ResourceVersion)
		if err == nil && order <= 0 && state.UID == now.UID && !state.sameData(now) {
			state.Secret = watcher.Secret{UID: state.UID, Data: state.Data}
			states[name] = state
		}
	}
	p.states.Store(&states)
}

// statesOf returns the state of every synced Secret in a snapshot.
func (p *Pipeline) statesOf(s watcher.Snapshot, result layout.Result) map[string]SecretState {
	states, previous := map[string]SecretState{}, *p.states.Load()
	inVolume := slices.Collect(maps.Keys(result.Set.Secrets))
	for _, name := range slices.Concat(p.Rules.Required, p.Rules.Optional, inVolume) {
		if !s.Unsynced[p.Rules.Watch(name)] {
			last := previous[name] // deleted, unless the snapshot contains it
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
