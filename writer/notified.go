package writer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// notifiedRecord is the file that says of which generation each target was
// notified last.
type notifiedRecord struct {
	Format  int               `json:"format"`
	Targets map[string]uint64 `json:"told"`           // target → generation
	Lost    bool              `json:"lost,omitempty"` // an earlier record could not be read: others may have been in it
}

func (r notifiedRecord) exists() bool { return len(r.Targets) > 0 || r.Lost }

func (r notifiedRecord) entry() plan.Entry {
	r.Format = plan.Format
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // a map of strings and numbers: there is nothing that can fail
	}
	return plan.Entry{Path: plan.NotifiedFile, Data: data}
}

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
	next := notifiedRecord{Targets: maps.Clone(w.notified.Targets), Lost: w.notified.Lost}
	next.Targets[target] = generation
	if err := w.replaceFile(next.entry()); err != nil {
		return w.explain(fmt.Errorf("record a notification in %q: %w", w.opts.Dir, err))
	}
	w.notified = next
	return nil
}

// readNotified reads the record at start. Of one that cannot be understood nothing
// is known but that targets may have been in it: for all, what is found is pending.
func (w *Writer) readNotified() {
	w.notified = notifiedRecord{Targets: map[string]uint64{}}
	data, err := w.vol.ReadFile(plan.NotifiedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var r notifiedRecord
	if err == nil {
		r, err = parseNotified(data)
	}
	if err != nil {
		w.log.Warn("the record of notifications cannot be read: all targets are notified again", "path", plan.NotifiedFile, "err", err)
		w.notified.Lost = true
		return
	}
	w.notified.Lost = r.Lost
	maps.Copy(w.notified.Targets, r.Targets)
	for _, generation := range r.Targets {
		// Its number is never used again, but for 1: in a volume that has no
		// generation, targets count as notified of that one in advance.
		if generation > 1 {
			w.last = max(w.last, generation)
		}
	}
}

func parseNotified(data []byte) (r notifiedRecord, err error) {
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	if r.Format != plan.Format {
		return r, fmt.Errorf("format %d", r.Format)
	}
	for _, generation := range r.Targets {
		if generation > plan.MaxGeneration {
			return r, fmt.Errorf("generation %d", generation)
		}
	}
	return r, nil
}
