package writer

import "github.com/secret-sync/secret-sync/writer/plan"

// tidy makes all outside of the generation's directory as planned, after a crash, a
// publish that failed or changed names, and somebody else's work. It returns what
// was not. Then it removes all of ours that neither this generation nor one within
// its grace needs. It removes nothing as long as apps may be reading it: before
// ..data points to this generation.
func (w *Writer) tidy() (changed []plan.Entry, err error) {
	cur := w.current.Load()
	if changed, err = w.put(w.around(cur)); err != nil {
		return changed, w.explain(err)
	}
	for _, dir := range append(plan.Dirs(cur.Outside), ".") {
		names, err := w.unplanned(dir)
		w.retryLater("could not look for leftovers, will try again", dir, err)
		for _, name := range names {
			w.inotify.Remove(name) // before it is renamed
			others, err := w.vol.RemoveOwn(name)
			w.retryLater("could not remove a leftover, will try again", name, err)
			if others {
				w.warnOnce(notOurs, name)
			}
		}
	}
	w.watch()
	return changed, nil
}

func (w *Writer) tidyOrRetry() {
	_, err := w.tidy()
	w.retryLater("could not put back links, will try again", ".", err)
}
