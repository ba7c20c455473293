package writer

import "fmt"

// Notified returns the generation that the target was last notified of. known is
// false if the volume contains no record of the target.
func (w *Writer) Notified(target string) (generation uint64, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	generation, known = w.notified.Targets[target]
	return generation, known || w.notified.Lost
}

// SetNotified records that the target was notified of a generation. The record is on
// disk when SetNotified returns nil. After a crash before that, the target is notified
// twice rather than not at all.
func (w *Writer) SetNotified(target string, generation uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.notified.With(target, generation)
	err := w.makeRoom(func() error { return w.vol.Replace(next.Entry(w.opts.FileMode)) })
	if err == nil {
		err = w.vol.SyncDir(".")
	}
	if err != nil {
		return w.explain(fmt.Errorf("record a notification in %q: %w", w.opts.Dir, err))
	}
	w.notified = next
	return nil
}
