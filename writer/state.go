package writer

import (
	"fmt"
	"maps"

	"github.com/secret-sync/secret-sync/writer/mount"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// State is what the volume tells of itself: no content.
type State struct {
	Generation uint64 // 0: none
	Complete   bool
	Secrets    map[string]SecretState // those that have files
	Notified   map[string]uint64      // target → the generation it was notified of last
}

// SecretState is which version of a Secret the files are from.
type SecretState struct {
	UID, ResourceVersion string
	Generation           uint64 // since which the files are as they are
}

// State is that of the volume now.
func (w *Writer) State() State {
	w.mu.Lock()
	notified := maps.Clone(w.notified.Targets)
	w.mu.Unlock()
	g := w.current.Load()
	if g == nil || g.anonymous() {
		return State{Notified: notified}
	}
	return stateOf(&g.record, notified)
}

// ReadState reads the state from the volume at dir. Like Ready, it only looks.
func ReadState(dir string) (State, error) {
	vol, err := mount.Look(dir)
	if err != nil {
		return State{}, fmt.Errorf("open the volume: %w", err)
	}
	defer func() { _ = vol.Close() }()
	_, rec, err := readCurrent(vol, dir)
	if err != nil {
		return State{}, err
	}
	var notified notifiedRecord
	if data, err := vol.ReadFile(plan.NotifiedFile); err == nil {
		notified, _ = parseNotified(data) // of one that cannot be read, nothing is known
	}
	return stateOf(&rec, notified.Targets), nil
}

func stateOf(rec *plan.Record, notified map[string]uint64) State {
	s := State{Generation: rec.Generation, Complete: rec.Complete, Secrets: map[string]SecretState{}, Notified: notified}
	for name, secret := range rec.Secrets {
		s.Secrets[name] = SecretState{secret.UID, secret.ResourceVersion, rec.SecretSince(name)}
	}
	return s
}
