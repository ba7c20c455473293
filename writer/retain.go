package writer

import (
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// Old generations stay for readers who hold a directory or a file of them. The
// one that was just replaced is not bound by its size: a reader may be in the
// middle of it, and the volume held it a moment ago.
const (
	grace     = 10 * time.Second
	graceMost = 16 // generations
	graceSize = 4  // times the newest one's size, all of them
	// graceFree is what small ones may take however small the newest is: by size
	// alone there would be four, which is 13 ms at 300 publishes a second, and a
	// reader can be off the processor for that long.
	graceFree = 1 << 20
)

// retired is a generation that was replaced.
type retired struct {
	dir    string
	at     time.Time          // when it was replaced
	size   int64              // bytes that its files take
	inside []generation.Entry // without the values; not known of one from before this process
}

// retire begins the grace of a generation that was replaced, if there was one.
func (w *Writer) retire(g *generation.Plan) {
	if g.None() {
		return
	}
	r := retired{g.Dir, w.opts.now(), g.Size(), slices.Clone(g.Inside)}
	for i := range r.inside {
		r.inside[i].Data = nil
	}
	w.old = append(w.old, r)
	w.arm()
}

// collect removes the generations whose grace is over, and the oldest of those
// that are too many or too large.
func (w *Writer) collect() {
	if !w.syncSwap() {
		return
	}
	var total int64
	for _, r := range w.old {
		total += r.size
	}
	limit := max(graceSize*w.current.Load().Size(), graceFree)
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

// dropOldest removes the oldest generation within its grace and reports whether
// there was one. While the swap is not on disk none goes: a power cut may go
// back to it. What cannot be removed, tidy removes later.
func (w *Writer) dropOldest() bool {
	if len(w.old) == 0 || !w.syncSwap() {
		return false
	}
	r := w.old[0]
	w.old = w.old[1:]
	err := w.removeRetired(r)
	if err == nil { // last: a directory without a record would not be known as older at a later start
		err = w.vol.RemoveAll(generation.RecordName(r.dir))
	}
	w.retryLater("could not remove an old generation, will try again", r.dir, err)
	return true
}

// removeRetired removes what the generation was made of, which lists no directory
// and saves a tenth of a publish, and then what else there is.
func (w *Writer) removeRetired(r retired) error {
	for _, e := range r.inside {
		if e.Mode.IsDir() {
			defer w.vol.Hold(e.Path)()
		}
	}
	gone := false
	for _, e := range slices.Backward(r.inside) { // r.dir is the last
		gone = w.vol.Remove(e.Path) == nil
	}
	if gone {
		return nil
	}
	return w.vol.RemoveAll(r.dir)
}
