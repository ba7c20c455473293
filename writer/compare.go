package writer

import (
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/fsnotify/fsnotify"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// differs reports whether an entry is not in the volume as planned.
func (w *Writer) differs(e plan.Entry) bool {
	if e.IsLink() {
		target, err := w.vol.Readlink(e.Path)
		return err != nil || target != e.Target
	}
	info, err := w.vol.Lstat(e.Path)
	if err != nil || info.Mode.Type() != e.Mode.Type() || info.Mode.Perm() != e.Mode.Perm() {
		return true
	}
	if e.Mode.IsDir() { // also with setgid, of an fsGroup
		return false
	}
	data, err := w.vol.ReadFile(e.Path)
	return err != nil || !e.Data.Equal(data)
}

// around lists what there is for a generation besides its directory, in the order in
// which it is put back: ..data last, as apps get there only with all the rest.
func (w *Writer) around(cur *generation) []plan.Entry {
	entries := w.notified.Entries(w.opts.FileMode)
	if cur.none() {
		return entries
	}
	return slices.Concat(cur.Outside, []plan.Entry{cur.Record}, entries, []plan.Entry{cur.Link()})
}

// changedInside compares the generation's directory with its plan: what was
// changed, what is missing, and what does not belong there.
func (w *Writer) changedInside(cur *generation) (changed []plan.Entry) {
	for _, e := range cur.Inside {
		if w.differs(e) {
			changed = append(changed, e)
		}
	}
	for _, dir := range plan.Dirs(cur.Inside) {
		names, _ := w.unplanned(dir) // of one that is not there, it is known already
		for _, name := range names {
			changed = append(changed, plan.Entry{Path: name})
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
		ok = ok || name == r.dir || name == plan.RecordName(r.dir)
	}
	return ok || name == plan.NotifiedFile
}

// concerns reports whether an event is about a mismatch: one look at the entry that
// it names. Our own writes leave none, so that they wake nothing.
func (w *Writer) concerns(e fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, cur := w.inotify.Name(e), w.current.Load()
	if cur.none() || name == "." || path.Base(name) == plan.Temporary {
		return false
	}
	if name == plan.NotifiedFile {
		return slices.ContainsFunc(w.notified.Entries(w.opts.FileMode), w.differs)
	}
	want, ok := cur.Find(name)
	switch {
	case !ok && plan.Top(name) == cur.Dir:
		return !w.isGone(name)
	case !ok:
		if path.Dir(name) == "." && !w.isOurs(name) && !w.isGone(name) {
			w.warnOnce(notOurs, name)
		}
		return false
	case want.Mode.IsDir():
		// Nobody watched one that was moved away and back, or was put in its place:
		// all is compared. The generation's own is created with each publish.
		return e.Has(fsnotify.Rename) || e.Has(fsnotify.Create) && name != cur.Dir || w.differs(want)
	}
	return w.differs(want)
}

// watch has the kernel report changes in DIR, in the generation and in the
// directories of its Secrets.
func (w *Writer) watch() {
	cur := w.current.Load()
	w.inotify.Add(".")
	w.inotify.Add(plan.Dirs(cur.Inside)...)
	w.inotify.Add(plan.Dirs(cur.Outside)...)
}

func (w *Writer) isGone(name string) bool {
	_, err := w.vol.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

func (w *Writer) isDir(name string) bool {
	info, err := w.vol.Lstat(name)
	return err == nil && info.Mode.IsDir()
}

// isOurs reports whether this program made what has a name directly in DIR.
func (w *Writer) isOurs(name string) bool {
	return plan.IsOwn(name) || w.isOwnLink(name) || w.isSecretDir(name)
}

// isOwnLink reports whether name is a link as this program makes them.
func (w *Writer) isOwnLink(name string) bool {
	target, err := w.vol.Readlink(name)
	return err == nil && target == plan.OwnTarget(name)
}

// isSecretDir reports whether name is a directory that this program made for a
// Secret.
func (w *Writer) isSecretDir(name string) bool {
	return w.isDir(name) && w.isOwnLink(path.Join(name, plan.DataLink))
}
