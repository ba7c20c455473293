package writer

import (
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
func ReadState(dir string) (state State, err error) {
	err = volume.Read(dir, func(v volume.Volume) (err error) {
		if _, state.Record, err = v.ReadCurrent(); err == nil {
			state.Notified, _ = v.ReadNotified() // if it cannot be read, the state of the targets is unknown
		}
		return err
	})
	return state, err
}
