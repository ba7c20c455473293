package writer

import "fmt"

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
	err := w.place(next.Entries(w.opts.FileMode)[0], w.vol.Replace)
	if err == nil {
		err = w.vol.SyncDir(".")
	}
	if err != nil {
		return w.explain(fmt.Errorf("record a notification in %q: %w", w.opts.Dir, err))
	}
	w.notified = next
	return nil
}
