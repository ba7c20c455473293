package writer

import (
	"cmp"
	"context"
	"time"

	"github.com/secret-sync/secret-sync/writer/volume"
)

// The grace period of old generations, for readers with an open directory or file. The limits do not apply to the last
// replaced generation, which readers may be using. Only a full volume takes it earlier (makeRoom).
const (
	grace    = 10 * time.Second
	maxOld   = 16      // generations
	minBytes = 1 << 20 // of all old generations, even if the newest generation is smaller
)

// retired is a replaced generation.
type retired struct {
	dir   string
	at    time.Time // of the replacement
	size  int64     // disk space of its entries and its record
	paths []string  // of its entries, the record last; nil after a restart
}

// collect removes the generations whose grace period has ended, and the oldest generations while there are too many or
// they are too large. Then it sets the timer for Run.
func (w *Writer) collect() {
	var total int64
	for _, r := range w.old {
		total += r.size
	}
	limit, more := max(w.current.Load().DiskSize(), minBytes), volume.Limit(context.Background())
	for len(w.old) > 0 {
		r, exceeded := w.old[0], len(w.old) > 1 && (len(w.old) > maxOld || total > limit)
		if w.now().Sub(r.at) < grace && !exceeded || !w.removeOldest(more) {
			break
		}
		total -= r.size
	}
	w.arm()
}

// removeOldest removes the oldest replaced generation, even in its grace period, or reports false. While the swap is
// not on disk, a power failure may return to an old generation, so all stay. The sweep removes the rest after a
// failure, or if more returns false.
func (w *Writer) removeOldest(more func() bool) bool {
	if len(w.old) == 0 || !w.syncSwap() {
		return false
	}
	r := w.old[0]
	w.old = w.old[1:]
	err := w.vol.Remove(r.paths...) // it lists no directory: 10 calls instead of 22 for a single file
	if err != nil || r.paths == nil {
		_, _ = w.vol.RemoveOwn(r.dir, more)
	}
	return true
}

// arm sets the timer for Run: to the next retry or end of a grace period, or else to the next step of the sweep.
func (w *Writer) arm() { w.timer.Reset(w.due().Sub(w.now())) }

func (w *Writer) due() time.Time {
	due := cmp.Or(w.uncertain.retryAt, w.nextSweep)
	if len(w.old) > 0 && !w.uncertain.unsynced["."] { // an old generation stays until the swap is on disk
		if end := w.old[0].at.Add(grace); end.Before(due) {
			return end
		}
	}
	return due
}
