package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"

	"github.com/secret-sync/secret-sync/writer/mount"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// Notified is the generation that the target was notified of last. known is false
// for a target that has no record in this volume.
func (w *Writer) Notified(target string) (generation uint64, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	generation, known = w.notified.Targets[target]
	return generation, known || w.notified.Lost
}

// SetNotified keeps that the target was notified of generation: on disk when it
// returns nil. A crash before it returns leaves the record of before, so that the
// target is notified twice rather than not at all.
func (w *Writer) SetNotified(target string, generation uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.notified.With(target, generation)
	err := w.place(next.Entries(w.opts.FileMode)[0])
	if err == nil {
		err = w.vol.SyncDir(".")
	}
	if err != nil {
		return w.explain(fmt.Errorf("record a notification in %q: %w", w.opts.Dir, err))
	}
	w.notified = next
	return nil
}

// readNotified reads the record at start. Of one that cannot be understood nothing
// is known but that targets may have been in it: for all, what is found is pending.
func (w *Writer) readNotified() {
	n, err := readNotified(w.vol)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.log.Warn("the record of notifications cannot be read: all targets are notified again", "path", plan.NotifiedFile, "err", err)
		n = plan.Notified{Lost: true}
	}
	for _, generation := range n.Targets {
		// Its number is never used again, but for 1: in a volume that has no
		// generation, targets count as notified of that one in advance.
		if generation > 1 {
			w.last = max(w.last, generation)
		}
	}
	w.notified = n
}

func readNotified(vol mount.Volume) (plan.Notified, error) {
	data, err := vol.ReadFile(plan.NotifiedFile)
	if err != nil {
		return plan.Notified{}, err
	}
	return plan.ParseNotified(data)
}

// State is what the volume says of itself: no content.
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

func stateOf(rec *plan.Record, notified map[string]uint64) State {
	s := State{Generation: rec.Generation, Complete: rec.Complete, Secrets: map[string]SecretState{}, Notified: notified}
	for name, secret := range rec.Secrets {
		s.Secrets[name] = SecretState{secret.UID, secret.ResourceVersion, rec.SecretSince(name)}
	}
	return s
}

// State is that of the volume now.
func (w *Writer) State() State {
	w.mu.Lock()
	notified := maps.Clone(w.notified.Targets)
	w.mu.Unlock()
	return stateOf(&w.known().record, notified)
}

// ReadState reads the state from the volume at dir. It only looks, needs no lock,
// and works beside the Writer, in its process or in another one.
func ReadState(dir string) (State, error) {
	s, _, err := look(dir)
	return s, err
}

// Ready reports whether a complete generation is in the volume at dir, nil if so.
// Like ReadState, it only looks.
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

// look reads the state from the volume at dir, and names a file that is missing.
func look(dir string) (s State, missing string, err error) {
	vol, err := mount.Look(dir)
	if err != nil {
		return s, "", fmt.Errorf("open the volume: %w", err)
	}
	defer func() { _ = vol.Close() }()
	target, err := vol.Readlink(plan.DataLink)
	if err != nil {
		return s, "", fmt.Errorf("no generation is in %q yet", dir)
	}
	if !plan.GenerationName.MatchString(target) {
		return s, "", fmt.Errorf("%s in %q points to %q, which is no generation", plan.DataLink, dir, target)
	}
	rec, err := readRecord(vol, target)
	if err != nil {
		return s, "", err
	}
	for name := range rec.Paths() {
		p := path.Join(target, name)
		if info, err := vol.Lstat(p); err != nil || !info.Mode.IsRegular() {
			missing = p
		}
	}
	n, _ := readNotified(vol) // of one that cannot be read, nothing is known
	return stateOf(&rec, n.Targets), missing, nil
}

// readRecord reads the record of a generation.
func readRecord(vol mount.Volume, generation string) (rec plan.Record, err error) {
	data, err := vol.ReadFile(plan.RecordName(generation))
	if err == nil {
		rec, err = plan.ParseRecord(data)
	}
	if err != nil {
		err = fmt.Errorf("read the record of %q: %w", generation, err)
	}
	return rec, err
}
