package writer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
)

// toldRecord is the file that says what each target was told last.
type toldRecord struct {
	Format int               `json:"format"`
	Told   map[string]uint64 `json:"told"`           // target → generation
	Lost   bool              `json:"lost,omitempty"` // an earlier record could not be read: others may have been in it
}

// Told is the generation that the target was told last. known is false for a
// target that has no record in this volume.
func (w *Writer) Told(target string) (generation uint64, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	generation, known = w.told[target]
	return generation, known || w.toldLost
}

// SetTold keeps that the target was told of generation: on disk when it returns
// nil. A crash before it returns leaves the record of before, so that the
// target is told twice rather than not at all.
func (w *Writer) SetTold(target string, generation uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := maps.Clone(w.told)
	next[target] = generation
	data, err := json.Marshal(toldRecord{Format: recordFormat, Told: next, Lost: w.toldLost})
	if err == nil {
		err = w.replaceFile(notifyFile, data)
	}
	if err != nil {
		return w.explain(fmt.Errorf("record in %q what was told: %w", w.opts.Dir, err))
	}
	w.told = next
	return nil
}

// readTold reads the record at start. Of one that cannot be understood nothing
// is known but that targets may have been in it: all are owed what is found.
func (w *Writer) readTold() {
	data, err := w.vol.ReadFile(notifyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var r toldRecord
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.Format != recordFormat {
		err = fmt.Errorf("format %d", r.Format)
	}
	for _, generation := range r.Told {
		if err == nil && generation > maxGeneration {
			err = fmt.Errorf("generation %d", generation)
		}
	}
	if err != nil {
		w.log.Warn("the record of what was told cannot be read: all counts as not told", "path", notifyFile, "err", err)
		w.toldLost = true
		return
	}
	w.toldLost = r.Lost
	for target, generation := range r.Told {
		w.told[target] = generation
		// A number that was told is never used again, but for 1: in a volume that
		// has no generation, that is the one that is counted as told in advance.
		if generation > 1 {
			w.last = max(w.last, generation)
		}
	}
}
