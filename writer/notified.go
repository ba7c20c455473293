package writer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// Notified returns the generation of the target's last notification. known is false
// if the volume contains no record of the target. If a record was lost, the result is
// 0 and true.
func (w *Writer) Notified(target string) (generation uint64, known bool) {
	n := w.notifications()
	generation, known = n.Targets[target]
	return generation, known || n.Lost
}

// LowestNotified returns the lowest generation of all records. known is false if the
// volume contains no record.
func (w *Writer) LowestNotified() (generation uint64, known bool) {
	targets := slices.Collect(maps.Values(w.notifications().Targets))
	if len(targets) == 0 {
		return 0, false
	}
	return slices.Min(targets), true
}

// Ended returns the last notification after which a process ended, and their number in
// a row.
func (w *Writer) Ended(target string) (generation uint64, times int) {
	e := w.notifications().Ended[target]
	return e.Generation, e.Times
}

// notifications returns the record of notifications. Its maps never change.
func (w *Writer) notifications() generation.Notified {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notified
}

// SetNotified records a notification of the target. It is on disk when SetNotified
// returns nil. After a crash before then, the target is notified twice rather than
// not at all.
func (w *Writer) SetNotified(target string, generation uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writeNotified(w.notified.With(target, generation))
}

// SetEnded records these values. They are on disk when SetEnded returns nil.
func (w *Writer) SetEnded(target string, number uint64, times int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writeNotified(w.notified.WithEnded(target, generation.Ended{Generation: number, Times: times}))
}

func (w *Writer) writeNotified(next generation.Notified) error {
	err := w.makeRoom(func() error { return w.vol.Replace(next.Entry(w.opts.FileMode)) })
	if err == nil {
		err = w.vol.SyncDir(".")
	}
	if err != nil {
		return w.vol.Explain(fmt.Errorf("record a notification in %q: %w", w.opts.Dir, err))
	}
	w.notified = next
	return nil
}
