package writer

import (
	"path"
	"slices"

	"github.com/fsnotify/fsnotify"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// around lists what there is for a generation besides its directory, in the order in
// which it is put back: ..data last, as apps get there only with all the rest.
func (w *Writer) around(cur *generation.Plan) []generation.Entry {
	entries := w.notified.Entries(w.opts.FileMode)
	if cur.None() {
		return entries
	}
	return slices.Concat(cur.Outside, []generation.Entry{cur.RecordFile}, entries, []generation.Entry{cur.Link()})
}

// changedInside compares the generation's directory with its plan: what was
// changed, what is missing, and what does not belong there.
func (w *Writer) changedInside(cur *generation.Plan) (changed []generation.Entry) {
	for _, e := range cur.Inside {
		if w.vol.Differs(e) {
			changed = append(changed, e)
		}
	}
	for _, dir := range generation.Dirs(cur.Inside) {
		names, _ := w.unplanned(dir) // of one that is not there, it is known already
		for _, name := range names {
			changed = append(changed, generation.Entry{Path: name})
		}
	}
	return changed
}

// unplanned lists what is in a directory and has no place there.
func (w *Writer) unplanned(dir string) (names []string, err error) {
	entries, err := w.vol.ReadDir(dir)
	for _, e := range entries {
		if name := path.Join(dir, e.Name()); !w.planned(name) {
			names = append(names, name)
		}
	}
	return names, err
}

func (w *Writer) planned(name string) bool {
	_, ok := w.current.Load().Find(name)
	for _, r := range w.old {
		ok = ok || name == r.dir || name == generation.RecordName(r.dir)
	}
	return ok || name == generation.NotifiedFile
}

// concerns reports whether an event is about a mismatch: one look at the entry that
// it names. Our own writes leave none, so that they wake nothing.
func (w *Writer) concerns(e fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, cur := w.inotify.Name(e), w.current.Load()
	if cur.None() || name == "." || path.Base(name) == generation.Temporary {
		return false
	}
	if name == generation.NotifiedFile {
		return slices.ContainsFunc(w.notified.Entries(w.opts.FileMode), w.vol.Differs)
	}
	want, ok := cur.Find(name)
	switch {
	case !ok && generation.Top(name) == cur.Dir:
		return !w.vol.IsGone(name)
	case !ok:
		if path.Dir(name) == "." && !w.vol.IsOurs(name) && !w.vol.IsGone(name) {
			w.warnOnce(notOurs, name)
		}
		return false
	case want.Mode.IsDir():
		// Nobody watched one that was moved away and back, or was put in its place:
		// all is compared. The generation's own is created with each publish.
		return e.Has(fsnotify.Rename) || e.Has(fsnotify.Create) && name != cur.Dir || w.vol.Differs(want)
	}
	return w.vol.Differs(want)
}

// watch has the kernel report changes in DIR, in the generation and in the
// directories of its Secrets.
func (w *Writer) watch() {
	cur := w.current.Load()
	w.inotify.Add(".")
	w.inotify.Add(generation.Dirs(cur.Inside)...)
	w.inotify.Add(generation.Dirs(cur.Outside)...)
}
