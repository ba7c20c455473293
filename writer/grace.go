package writer

import (
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// The grace period of old generations, for readers with an open directory or file.
// The limits do not apply to the last replaced generation: a reader may be in the
// middle of it, and it fit into the volume a moment ago.
const (
	grace    = 10 * time.Second
	maxOld   = 16      // generations
	minBytes = 1 << 20 // of all old generations, even if the newest generation is smaller
)

// retired is a replaced generation.
type retired struct {
	dir  string
	at   time.Time // of the replacement
	size int64     // disk space of its files
}

// retire starts the grace period of a replaced generation.
func (w *Writer) retire(g *generation.Generation) {
	if !g.Empty() {
		w.old = append(w.old, retired{g.Dir, w.now(), g.DiskSize()})
		w.arm()
	}
}

// collect removes the generations whose grace period has ended, and the oldest ones
// while there are too many or they are too large.
func (w *Writer) collect() {
	if !w.syncSwap() {
		return
	}
	var total int64
	for _, r := range w.old {
		total += r.size
	}
	limit := max(w.current.Load().DiskSize(), minBytes)
	for len(w.old) > 0 {
		r := w.old[0]
		exceeded := len(w.old) > 1 && (len(w.old) > maxOld || total > limit)
		if w.now().Sub(r.at) < grace && !exceeded || !w.removeOldest() {
			return
		}
		total -= r.size
	}
}

// removeOldest removes the oldest generation in its grace period and reports whether
// it could start to. While the swap is not on disk, a power failure may return to an
// old generation, so all of them stay. After a failure, a later repair removes the
// rest of the generation.
func (w *Writer) removeOldest() bool {
	if len(w.old) == 0 || !w.syncSwap() {
		return false
	}
	r := w.old[0]
	w.old = w.old[1:]
	err := w.vol.RemoveAll(r.dir)
	if err == nil { // last, because the next start recognizes an old generation by its record
		err = w.vol.RemoveAll(generation.RecordName(r.dir))
	}
	w.retryLater("could not remove an old generation, will retry", r.dir, err)
	return true
}

// due returns the time of the next retry or end of a grace period, zero if there is
// none.
func (w *Writer) due() time.Time {
	retry := w.uncertain.retryAt
	if len(w.old) == 0 || w.uncertain.unsynced { // an old generation stays until the swap is on disk
		return retry
	}
	end := w.old[0].at.Add(grace)
	if retry.IsZero() || end.Before(retry) {
		return end
	}
	return retry
}

// arm sets the timer for Run.
func (w *Writer) arm() {
	due := w.due()
	if due.IsZero() {
		w.timer.Stop()
		return
	}
	w.timer.Reset(due.Sub(w.now()))
}
