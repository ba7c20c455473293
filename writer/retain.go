package writer

import (
	"time"
)

// Old generations stay for readers who hold a directory or a file of them. The
// one that was just replaced is not bound by its size: a reader may be in the
// middle of it, and the volume held it a moment ago.
const (
	grace     = 10 * time.Second
	graceMost = 16 // generations
	graceSize = 4  // times the newest one's size, together
	// graceFree is what small ones may take however small the newest is: by size
	// alone there would be four, which is 13 ms at 300 publishes a second, and a
	// reader can be off the processor for that long.
	graceFree = 1 << 20
)

// retired is a generation that was replaced.
type retired struct {
	dir  string
	at   time.Time // when it was replaced
	size int64     // bytes that its files take
}

// retire begins the grace of a generation that was replaced.
func (w *Writer) retire(dir string, size int64) {
	w.old = append(w.old, retired{dir: dir, at: w.opts.now(), size: size})
	w.wakeRun()
}

// wakeRun has Run look what there is to time.
func (w *Writer) wakeRun() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// unfinished tells whether something did not go through after a swap or at start.
func (w *Writer) unfinished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.untidy || w.unlinked
}

// collect removes the generations whose grace is over, and the oldest of those
// that are too many or too large. What cannot be removed is tried again.
func (w *Writer) collect() {
	cur := w.current.Load()
	if cur == nil || !w.syncSwap() {
		return
	}
	var total int64
	for _, r := range w.old {
		total += r.size
	}
	limit := max(graceSize*size(cur.set), graceFree)
	for len(w.old) > 0 {
		r := w.old[0]
		if w.opts.now().Sub(r.at) < grace && len(w.old) <= graceMost && (total <= limit || len(w.old) == 1) {
			return
		}
		total -= r.size
		if !w.dropOldest() {
			return
		}
	}
}

// dropOldest removes the oldest generation within its grace and tells whether
// there was one. While the swap is not on disk none goes: a power cut may lead
// back to it.
func (w *Writer) dropOldest() bool {
	if len(w.old) == 0 || !w.syncSwap() {
		return false
	}
	r := w.old[0]
	w.old = w.old[1:]
	w.warn("could not remove an old generation, will try again", r.dir, w.removeGeneration(r.dir))
	return true
}

// removeGeneration removes the record last: a directory without one would not
// tell a later start that it is older.
func (w *Writer) removeGeneration(dir string) error {
	if err := w.removeAll(dir); err != nil {
		return err
	}
	if err := w.remove(recordName(dir)); err != nil { // a directory, planted there
		return w.removeAll(recordName(dir))
	}
	return nil
}

// nextExpiry tells how long it is until the next grace ends.
func (w *Writer) nextExpiry() (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.old) == 0 {
		return 0, false
	}
	wait := max(grace-w.opts.now().Sub(w.old[0].at), 0)
	if w.unsynced {
		wait = max(wait, healAgain)
	}
	return wait, true
}
