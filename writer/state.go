package writer

import (
	"fmt"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// State is the recorded state of a volume. It contains no values.
type State struct {
	generation.Record                     // of the current generation; empty if there is none
	Notified          generation.Notified // the ID of the volume, and the record of each target
}

// State returns the current state of the volume. The caller must not modify the maps.
func (w *Writer) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return State{Record: w.known().Record, Notified: w.notified}
}

// ReadState reads the state of the volume at dir. Another process may own the
// volume.
func ReadState(dir string) (State, error) {
	vol, err := volume.OpenUnlocked(dir)
	if err != nil {
		return State{}, err
	}
	defer func() { _ = vol.Close() }()
	_, rec, err := vol.ReadCurrent()
	if err != nil {
		return State{}, fmt.Errorf("read %q: %w", dir, err)
	}
	n, _ := vol.ReadNotified() // if it cannot be read, the state of the targets is unknown
	return State{Record: rec, Notified: n}, nil
}
