package writer

import (
	"errors"
	"path"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// put makes entries outside of the generation's directory as planned, whatever has
// their names: in a volume of ours these are ours. It returns those that were not
// as planned. They are on disk then.
func (w *Writer) put(entries []generation.Entry) (changed []generation.Entry, err error) {
	var errs []error
	dirs := map[string]bool{}
	for _, e := range entries { // parents first
		if !w.vol.Differs(e) {
			continue
		}
		changed = append(changed, e)
		dirs[path.Dir(e.Path)] = true
		if e.Mode.IsDir() {
			dirs[e.Path] = true
		}
		errs = append(errs, w.place(e, w.vol.Put))
	}
	for dir := range dirs {
		errs = append(errs, w.vol.SyncDir(dir))
	}
	return changed, errors.Join(errs...)
}

// place has an entry put into the volume. The oldest generations within their grace
// make room.
func (w *Writer) place(e generation.Entry, put func(generation.Entry) error) error {
	err := w.makeRoom(func() error { return put(e) })
	if err == nil && e.Path == generation.DataLink {
		w.astray.Store(false)
	}
	return err
}

// makeRoom has the oldest generations within their grace yield to a full volume.
func (w *Writer) makeRoom(try func() error) error {
	for {
		if err := try(); !noSpace(err) || !w.dropOldest() {
			return err
		}
	}
}

// tidy makes all outside of the generation's directory as planned, after a crash, a
// publish that failed or changed names, and somebody else's work. It returns what
// was not. Then it removes all of ours that neither this generation nor one within
// its grace needs. It removes nothing as long as apps may be reading it: before
// ..data points to this generation.
func (w *Writer) tidy() (changed []generation.Entry, err error) {
	cur := w.current.Load()
	if changed, err = w.put(w.around(cur)); err != nil {
		return changed, w.explain(err)
	}
	for _, dir := range append(generation.Dirs(cur.Outside), ".") {
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
