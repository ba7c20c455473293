package writer

import (
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/writer/inotify"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// matches reports whether an entry is in the volume as planned. Where the plan
// has no permissions, any will do.
func (w *Writer) matches(e plan.Entry) bool {
	if e.IsLink() {
		target, err := w.vol.Readlink(e.Path)
		return err == nil && target == e.Target
	}
	info, err := w.vol.Lstat(e.Path)
	if err != nil || info.Mode.Type() != e.Mode.Type() {
		return false
	}
	if e.Mode.IsDir() { // also with setgid, of an fsGroup
		return info.Mode.Perm() == e.Mode.Perm()
	}
	if e.Mode != 0 && info.Mode != e.Mode || info.Size != int64(len(e.Data)) {
		return false
	}
	data, err := w.vol.ReadFile(e.Path)
	return err == nil && e.Data.Equal(data)
}

// mismatched gives those entries that are not as planned.
func (w *Writer) mismatched(entries []plan.Entry) (bad []plan.Entry) {
	for _, e := range entries {
		if !w.matches(e) {
			bad = append(bad, e)
		}
	}
	return bad
}

// mismatches compares all of a generation with the volume: what was changed,
// what is missing, and in its directory also what does not belong there.
func (w *Writer) mismatches(cur *generation) []plan.Entry {
	bad := w.mismatched(cur.Inside)
	for _, dir := range plan.Dirs(cur.Inside) {
		entries, _ := w.vol.ReadDir(dir) // one that is not there is a mismatch already
		for _, e := range entries {
			p := path.Join(dir, e.Name())
			if _, ok := cur.Find(p); !ok {
				bad = append(bad, plan.Entry{Path: p})
			}
		}
	}
	return append(bad, w.mismatched(w.around(cur))...)
}

// around lists what there is for a generation besides its directory, in the order in
// which it is put back: ..data last, as apps get there only with all the rest.
func (w *Writer) around(cur *generation) []plan.Entry {
	entries := append(slices.Clone(cur.Outside), cur.Record)
	if w.notified.exists() {
		entries = append(entries, w.notified.entry())
	}
	return append(entries, cur.Link())
}

// concerns reports whether an event is about a mismatch: one look at the entry that
// it names. Our own writes leave none, so that they wake nothing.
func (w *Writer) concerns(e inotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	cur := w.current.Load()
	if cur == nil || e.Name == "." || path.Base(e.Name) == temporaryLink {
		return false
	}
	if e.Name == plan.NotifiedFile {
		return w.notified.exists() && !w.matches(w.notified.entry())
	}
	planned, ok := cur.Find(e.Name)
	switch {
	case !ok && plan.Top(e.Name) == cur.Dir:
		return !w.isGone(e.Name)
	case !ok:
		if plan.Top(e.Name) == e.Name && !plan.IsOwn(e.Name) && !w.isOwnLink(e.Name) && !w.isSecretDir(e.Name) && !w.isGone(e.Name) {
			w.noteForeign(e.Name)
		}
		return false
	case planned.Mode.IsDir():
		// Nobody watched one that was moved away and back, or was put in its place:
		// all is compared. The generation's own is created with each publish.
		w.inotify.Add(e.Name)
		return e.Renamed || e.Created && e.Name != cur.Dir || !w.matches(planned)
	}
	return !w.matches(planned)
}

// watch has the kernel report changes in DIR, in the generation and in the
// directories of its Secrets.
func (w *Writer) watch() {
	w.inotify.Add(".")
	if cur := w.current.Load(); cur != nil {
		w.watchAll(cur.Inside)
		w.watchAll(cur.Outside)
	}
}

func (w *Writer) watchAll(entries []plan.Entry) {
	for _, dir := range plan.Dirs(entries) {
		w.inotify.Add(dir)
	}
}

// unwatch ends that for a generation: changes to it do not matter any more.
func (w *Writer) unwatch(g *generation) {
	for _, dir := range plan.Dirs(g.Inside) {
		w.inotify.Remove(dir)
	}
}

func (w *Writer) isGone(name string) bool {
	_, err := w.vol.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

func (w *Writer) isDir(name string) bool {
	info, err := w.vol.Lstat(name)
	return err == nil && info.Mode.IsDir()
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
