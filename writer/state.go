package writer

import (
	"fmt"
	"maps"
	"path"
	"slices"

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
func ReadState(dir string) (state State, err error) {
	err = inspect(dir, func(_ volume.Volume, _ string, s State) error { state = s; return nil })
	return state, err
}

// Ready returns nil if the volume at dir holds a complete generation. Another process
// may own the volume.
func Ready(dir string) error {
	return inspect(dir, func(vol volume.Volume, current string, state State) error {
		if !state.Complete {
			return fmt.Errorf("generation %d in %q is not complete yet", state.Generation, dir)
		}
		missing, err := missingFiles(vol, current, state.Record)
		switch {
		case err != nil:
			return fmt.Errorf("generation %d in %q: %w", state.Generation, dir, err)
		case len(missing) > 1:
			return fmt.Errorf("generation %d in %q lacks %q and %d other files", state.Generation, dir, missing[0], len(missing)-1)
		case len(missing) == 1:
			return fmt.Errorf("generation %d in %q lacks %q", state.Generation, dir, missing[0])
		}
		return nil
	})
}

// missingFiles returns the missing files of a generation, sorted. It returns an
// error if it could not examine a file.
func missingFiles(vol volume.Volume, dir string, rec generation.Record) (missing []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(rec.Paths())) {
		p := path.Join(dir, name)
		info, err := vol.Lstat(p)
		if err != nil && !volume.Missing(err) {
			return nil, err
		}
		if err != nil || !info.Mode.IsRegular() {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// inspect calls use with a volume, the directory of its current generation, and its
// state.
func inspect(dir string, use func(vol volume.Volume, current string, s State) error) error {
	vol, err := volume.OpenUnlocked(dir)
	if err != nil {
		return err
	}
	defer func() { _ = vol.Close() }()
	current, err := vol.Readlink(generation.DataLink)
	switch {
	case volume.NotALink(err):
		return fmt.Errorf("no generation in %q yet", dir)
	case err != nil:
		return fmt.Errorf("read %q: %w", dir, err)
	case !generation.GenerationName.MatchString(current):
		return fmt.Errorf("%s in %q points to %q, which is no generation", generation.DataLink, dir, current)
	}
	rec, err := readRecord(vol, current)
	if err != nil {
		return err
	}
	n, _ := readNotified(vol) // if it cannot be read, the state of the targets is unknown
	return use(vol, current, State{Record: rec, VolumeID: n.Volume, Notified: n.Targets})
}

// readRecord reads the record of a generation.
func readRecord(vol volume.Volume, dir string) (rec generation.Record, err error) {
	data, err := vol.ReadFile(generation.RecordName(dir))
	if err == nil {
		rec, err = generation.ParseRecord(data)
	}
	if err != nil {
		err = fmt.Errorf("read the record of %q: %w", dir, err)
	}
	return rec, err
}

func readNotified(vol volume.Volume) (generation.Notified, error) {
	data, err := vol.ReadFile(generation.NotifiedFile)
	if err != nil {
		return generation.Notified{}, err
	}
	return generation.ParseNotified(data)
}
