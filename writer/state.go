package writer

import (
	"fmt"
	"maps"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// State is the recorded state of a volume. It contains no values.
type State struct {
	generation.Record                   // of the current generation; empty if there is none
	VolumeID          string            // random, different for each volume
	Notified          map[string]uint64 // target → generation of its last notification
}

// State returns the current state of the volume.
func (w *Writer) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return State{Record: w.known().Record, VolumeID: w.notified.Volume, Notified: maps.Clone(w.notified.Targets)}
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
	return State{Record: rec, VolumeID: n.Volume, Notified: n.Targets}, nil
}

// Ready returns nil if the volume at dir holds a complete generation. Another process
// may own the volume.
func Ready(dir string) error {
	vol, err := volume.OpenUnlocked(dir)
	if err != nil {
		return err
	}
	defer func() { _ = vol.Close() }()
	current, rec, err := vol.ReadCurrent()
	if err != nil {
		return fmt.Errorf("read %q: %w", dir, err)
	}
	missing, err := vol.MissingFiles(current, rec)
	switch {
	case !rec.Complete:
		return fmt.Errorf("generation %d in %q is not complete yet", rec.Generation, dir)
	case err != nil:
		return fmt.Errorf("generation %d in %q: %w", rec.Generation, dir, err)
	case len(missing) > 1:
		return fmt.Errorf("generation %d in %q lacks %q and %d other files", rec.Generation, dir, missing[0], len(missing)-1)
	case len(missing) == 1:
		return fmt.Errorf("generation %d in %q lacks %q", rec.Generation, dir, missing[0])
	}
	return nil
}
