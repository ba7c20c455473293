// Package inspect reads what is in a volume: its state, for those who look from
// outside, and what an earlier process left, for the writer's start. It promises to
// change nothing, and to take nothing for missing that it could not read. It must not
// know what is done about what it finds.
package inspect

import (
	"fmt"
	"path"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/mount"
)

// State is what the volume says of itself: no content.
type State struct {
	generation.Record                   // of the generation; an empty one for none
	Notified          map[string]uint64 // target → the generation it was notified of last
}

// Read reads the state of the volume at dir. It needs no lock, and works beside the
// writer, in its process or in another one.
func Read(dir string) (State, error) {
	s, _, err := look(dir)
	return s, err
}

// Ready reports whether a complete generation is in the volume at dir, nil if so.
// Like Read, it needs no lock.
func Ready(dir string) error {
	s, missing, err := look(dir)
	switch {
	case err != nil:
		return err
	case !s.Complete:
		return fmt.Errorf("generation %d in %q is not complete yet", s.Generation, dir)
	case missing != "":
		return fmt.Errorf("generation %d in %q lacks %q", s.Generation, dir, missing)
	}
	return nil
}

// look reads the state of the volume at dir, and names a file that is missing.
func look(dir string) (s State, missing string, err error) {
	vol, err := mount.Look(dir)
	if err != nil {
		return s, "", fmt.Errorf("open the volume: %w", err)
	}
	defer func() { _ = vol.Close() }()
	target, err := vol.Readlink(generation.DataLink)
	if err != nil {
		return s, "", fmt.Errorf("no generation is in %q yet", dir)
	}
	if !generation.GenerationName.MatchString(target) {
		return s, "", fmt.Errorf("%s in %q points to %q, which is no generation", generation.DataLink, dir, target)
	}
	if s.Record, err = readRecord(vol, target); err != nil {
		return s, "", err
	}
	for name := range s.Paths() {
		p := path.Join(target, name)
		if info, err := vol.Lstat(p); err != nil || !info.Mode.IsRegular() {
			missing = p
		}
	}
	n, _ := readNotified(vol) // of one that cannot be read, nothing is known
	s.Notified = n.Targets
	return s, missing, nil
}

// readRecord reads the record of a generation.
func readRecord(vol mount.Volume, dir string) (rec generation.Record, err error) {
	data, err := vol.ReadFile(generation.RecordName(dir))
	if err == nil {
		rec, err = generation.ParseRecord(data)
	}
	if err != nil {
		err = fmt.Errorf("read the record of %q: %w", dir, err)
	}
	return rec, err
}

func readNotified(vol mount.Volume) (generation.Notified, error) {
	data, err := vol.ReadFile(generation.NotifiedFile)
	if err != nil {
		return generation.Notified{}, err
	}
	return generation.ParseNotified(data)
}
