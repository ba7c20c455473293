package writer

import (
	"fmt"

	"github.com/secret-sync/secret-sync/internal/notification"
)

// TargetRecord returns the record of a target. known is false if the volume contains no
// record of the target. If a record was lost, the result is a zero record and true.
func (w *Writer) TargetRecord(target string) (record notification.TargetRecord, known bool) {
	n := w.State().Notified
	record, known = n.Targets[target]
	return record, known || n.Lost
}

// LowestNotified returns the lowest generation of all records. known is false if the
// volume contains no record.
func (w *Writer) LowestNotified() (generation uint64, known bool) {
	for _, record := range w.State().Notified.Targets {
		if !known || record.Notified < generation {
			generation, known = record.Notified, true
		}
	}
	return generation, known
}

// SetTargetRecord replaces the record of a target. It is on disk when SetTargetRecord
// returns nil. After a crash before then, the target is notified twice rather than
// not at all.
func (w *Writer) SetTargetRecord(target string, record notification.TargetRecord) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.notified.With(target, record)
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
