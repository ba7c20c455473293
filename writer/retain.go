package writer

import (
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/writer/plan"
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
	dir   string
	at    time.Time // when it was replaced
	size  int64     // bytes that its files take
	dirs  []string  // that directory and those in it, parents first
	files []string  // names alone: the values are not kept
}

// retire begins the grace of a generation that was replaced. What a process from
// before left is a directory of unknown entries.
func (w *Writer) retire(dir string, size int64, inside []plan.Entry) {
	r := retired{dir: dir, at: w.opts.now(), size: size, dirs: plan.Dirs(inside)}
	for _, e := range inside {
		if !e.Mode.IsDir() {
			r.files = append(r.files, e.Path)
		}
	}
	w.old = append(w.old, r)
	poke(w.poke)
}

// page is what a file system hands out: a small file takes one.
const page = 4096

func pages(bytes int64) int64 { return (bytes + page - 1) / page * page }

// size is what the files of set take on a volume, in bytes, in whole pages.
func size(set Set) (bytes int64) {
	for _, f := range set.Secrets {
		for _, v := range f.Content {
			bytes += pages(int64(len(v)))
		}
	}
	return max(bytes, page)
}

func (w *Writer) endGrace() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.collect()
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

// dropOldest removes the oldest generation within its grace and reports whether
// there was one. While the swap is not on disk none goes: a power cut may lead
// back to it.
func (w *Writer) dropOldest() bool {
	if len(w.old) == 0 || !w.syncSwap() {
		return false
	}
	r := w.old[0]
	w.old = w.old[1:]
	var err error
	if !w.removePlanned(r) {
		err = w.removeAll(r.dir)
	}
	if err == nil { // last: a directory without a record would not tell a later start that it is older
		err = w.removeAll(plan.RecordName(r.dir))
	}
	w.retryLater("could not remove an old generation, will try again", r.dir, err)
	return true
}

// removePlanned removes what the generation was made of, and reports whether that
// was all there is. It lists no directory, which saves a tenth of a publish. Where
// someone put a link in the place of a directory it touches nothing: the link may
// point into the generation that apps read.
func (w *Writer) removePlanned(r retired) bool {
	var releases []func()
	defer func() {
		for _, release := range releases {
			release()
		}
	}()
	for _, dir := range r.dirs {
		release, err := w.vol.Hold(dir)
		if err != nil {
			return false
		}
		releases = append(releases, release)
	}
	names := slices.Concat(r.dirs, r.files)
	for _, name := range slices.Backward(names) {
		if w.remove(name) != nil {
			return false
		}
	}
	return len(names) > 0
}

// nextExpiry reports how long it is until the next grace ends.
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
