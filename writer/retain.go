package writer

import (
	"slices"
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

	dirs, files []string // what it has, the outer directories first; nil if not known
}

// knownMost is how many names are kept of an old generation, to remove it
// without a listing.
const knownMost = 64

// retire begins the grace of a generation that was replaced.
func (w *Writer) retire(g *generation, size int64) {
	r := retired{dir: g.dir, at: w.opts.now(), size: size}
	if dirs, files := g.names(); len(dirs)+len(files) <= knownMost {
		r.dirs, r.files = dirs, files
	}
	w.old = append(w.old, r)
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
	w.warn("could not remove an old generation, will try again", r.dir, w.removeGeneration(r))
	return true
}

// removeGeneration removes the record last: a directory without one would not
// tell a later start that it is older.
func (w *Writer) removeGeneration(r retired) error {
	if !w.removeKnown(r) {
		if err := w.removeAll(r.dir); err != nil {
			return err
		}
	}
	if err := w.remove(recordName(r.dir)); err != nil { // a directory, planted there
		return w.removeAll(recordName(r.dir))
	}
	return nil
}

// removeKnown removes what is known to be there, and tells whether that was all.
// It touches nothing where someone put a link in the place of a directory: that
// may lead into the generation that apps see.
func (w *Writer) removeKnown(r retired) bool {
	release, held := w.hold(r.dirs)
	defer release()
	if !held || len(r.dirs) == 0 {
		return false
	}
	for _, name := range r.files {
		if w.remove(name) != nil {
			return false
		}
	}
	for _, name := range slices.Backward(r.dirs) {
		if w.remove(name) != nil {
			return false
		}
	}
	return true
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
