package writer

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// tidy removes everything of ours that neither the current generation nor one
// within its grace needs: what crashes and failed publishes leave, and the links of
// keys and Secrets that are gone. Entries of others stay, and are named once.
func (w *Writer) tidy() {
	w.pending = false
	entries, err := w.vol.ReadDir(".")
	if err != nil {
		w.retryLater("could not look for leftovers, will try again", ".", err)
		return
	}
	needed, err := w.needed()
	if err != nil {
		w.retryLater("could not look for leftovers, will try again", plan.DataLink, err)
		return
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case needed[name]:
			if e.IsDir() && !plan.IsOwn(name) {
				w.tidySecretDir(name)
			}
		case plan.IsOwn(name):
			w.retryLater("could not remove a leftover, will try again", name, w.removeOwn(name))
		case e.IsDir() && w.isSecretDir(name):
			w.retryLater("could not remove the directory of a Secret that is gone, will try again", name, w.removeSecretDir(name))
		default:
			if !w.removedOwnLink(name) {
				w.noteForeign(name)
			}
		}
	}
	if !w.pending {
		clear(w.warned)
	}
}

// removeOwn removes what apps never read. Of a generation the record goes first: part
// of one that has a record would be taken for what is left of one that apps read.
func (w *Writer) removeOwn(name string) error {
	if plan.GenerationName.MatchString(name) {
		if err := w.removeAll(plan.RecordName(name)); err != nil {
			return err
		}
	}
	return w.removeAll(name)
}

// tidyUp is tidy after something else that may have failed: what that has to try again
// is not forgotten.
func (w *Writer) tidyUp() {
	failed := w.pending
	w.tidy()
	w.pending = w.pending || failed
}

// needed has the names in DIR that stay. What ..data points to is among them,
// whatever we believe that it should: apps may be reading it.
func (w *Writer) needed() (names map[string]bool, err error) {
	names = map[string]bool{plan.NotifiedFile: true}
	keep := func(dir string) { names[dir], names[plan.RecordName(dir)] = true, true }
	if cur := w.current.Load(); cur != nil {
		names[plan.DataLink] = true
		keep(cur.Dir)
		for _, e := range cur.Outside {
			names[plan.Top(e.Path)] = true
		}
	}
	for _, r := range w.old {
		keep(r.dir)
	}
	target, err := w.vol.Readlink(plan.DataLink)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EINVAL): // none, or no link
		return names, nil
	case err != nil:
		return nil, err
	}
	if !names[target] && plan.GenerationName.MatchString(target) && w.isDir(target) {
		names[plan.DataLink] = true
		keep(target)
		w.pending = true // until it points elsewhere
	}
	return names, nil
}

// tidySecretDir removes links and temporaries of ours that the Secret does not
// need any more.
func (w *Writer) tidySecretDir(dir string) {
	entries, err := w.vol.ReadDir(dir)
	if err != nil {
		w.retryLater("could not look for leftovers, will try again", dir, err)
		return
	}
	cur := w.current.Load()
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if _, ok := cur.Find(p); ok {
			continue
		}
		if strings.HasPrefix(e.Name(), "..") && strings.HasSuffix(e.Name(), plan.Temporary) {
			w.retryLater("could not remove a leftover, will try again", p, w.removeAll(p))
		} else {
			w.removedOwnLink(p)
		}
	}
}

// removedOwnLink removes a link if this program made it, and reports whether it is
// one, or may be one that cannot be looked at.
func (w *Writer) removedOwnLink(name string) bool {
	if _, err := w.vol.Readlink(name); err != nil && !errors.Is(err, syscall.EINVAL) {
		w.retryLater("could not look for leftovers, will try again", name, err)
		return true // as far as is known
	}
	own := w.isOwnLink(name)
	if own {
		w.retryLater("could not remove a stale link, will try again", name, w.vol.Remove(name))
	}
	return own
}

// removeSecretDir removes a Secret's directory under a name that reports that it
// goes: without its "..data" it would be taken for somebody else's after a crash
// in the middle.
func (w *Writer) removeSecretDir(name string) error {
	w.inotify.Remove(name)
	if err := w.removeAll(plan.LinkTemp); err != nil {
		return err
	}
	if err := w.vol.Rename(name, plan.LinkTemp); err != nil {
		return err
	}
	// Without this, a power cut may undo the rename and not the removals.
	if err := w.vol.SyncDir("."); err != nil {
		return err
	}
	return w.removeAll(plan.LinkTemp)
}

// removeAll removes name and what is below it; that it is not there is no
// error. It follows no link.
func (w *Writer) removeAll(name string) error {
	info, err := w.vol.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode.IsDir():
		return w.removeDir(name, info.Mode)
	}
	return w.remove(name)
}

func (w *Writer) remove(name string) error {
	if err := w.vol.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeDir removes a directory and what is in it. One whose mode keeps us out
// (planted: ours always let us in) is opened up first.
func (w *Writer) removeDir(name string, mode fs.FileMode) error {
	if mode.Perm()&0o700 != 0o700 {
		if err := w.vol.Chmod(name, 0o700); err != nil {
			return err
		}
	}
	defer w.hold([]string{name})()
	entries, err := w.vol.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		remove := w.remove
		if e.IsDir() {
			remove = w.removeAll
		}
		if err := remove(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return w.remove(name)
}
