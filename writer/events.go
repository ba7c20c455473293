package writer

import (
	"context"
	"path"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// watchDirs watches directories unless they are already watched. It reports whether
// it began to watch an existing directory.
func (w *Writer) watchDirs(names ...string) (began bool) {
	began, err := w.events.Watch(w.vol, names...)
	if err != nil {
		w.warnOnce("could not watch a directory; changes in it are found within a minute", ".", "err", err)
	}
	return began
}

// checkEvents examines the entries reported by inotify, each once, and repairs the volume if an entry differs from the
// current generation. The Writer's own writes leave no difference. While a retry is pending it does nothing: the retry
// compares everything.
func (w *Writer) checkEvents(ctx context.Context) {
	names := w.events.Take()
	cur := w.current.Load()
	if cur.Empty() || w.mustWait() {
		return
	}
	for name := range names {
		if w.mismatch(cur, name) {
			w.reconcileOrRetry(ctx)
			return
		}
	}
}

// mismatch reports whether the entry of an event may differ from the current
// generation. The content of a moved or replaced directory may differ: nothing watched
// it for a while. The Writer watches its new directories before it examines their events.
func (w *Writer) mismatch(cur *generation.Generation, name string) bool {
	want, ok := w.expected(cur, name)
	switch {
	case name == "":
		// The queue of inotify overflowed, perhaps with the Writer's own events, such as three for each
		// key of a large flat publish. Lost events may be another process's: compare everything once.
		return true
	case name == ".", path.Base(name) == generation.Temporary:
	case ok:
		return w.isDifferent(want) || want.Mode.IsDir() && w.watchDirs(name)
	case generation.Top(name) == cur.Dir:
		return !w.vol.IsGone(name)
	case path.Dir(name) == "." && !w.vol.IsGone(name):
		if own, err := w.vol.IsOwn(name); !own && err == nil {
			w.warnOnce(foreignEntry, name)
		}
	}
	return false
}
