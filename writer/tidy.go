package writer

import (
	"errors"
	"io/fs"
	"path"
	"syscall"

	"github.com/secret-sync/secret-sync/writer/plan"
)

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
			w.retryLater("could not remove a leftover, will try again", name, w.removeOwn(name))
		}
	}
	w.watch()
	return changed, nil
}

func (w *Writer) tidyOrRetry() {
	_, err := w.tidy()
	w.retryLater("could not put back links, will try again", ".", err)
}

// removeOwn removes what is ours. What is not stays: directly in DIR, one warning
// names it.
func (w *Writer) removeOwn(name string) error {
	if _, err := w.vol.Readlink(name); err != nil && !isNoLink(err) {
		return err // it may be ours
	}
	inDir := path.Dir(name) == "."
	switch {
	case plan.GenerationName.MatchString(name):
		// The record goes first: part of a generation that has one would be taken for
		// what is left of one that apps read.
		if err := w.removeAll(plan.RecordName(name)); err != nil {
			return err
		}
		return w.removeAll(name)
	case plan.IsOwn(path.Base(name)):
		return w.removeAll(name)
	case w.isOwnLink(name):
		return w.remove(name)
	case inDir && w.isSecretDir(name):
		return w.removeSecretDir(name)
	case inDir:
		w.warnOnce(notOurs, name)
	}
	return nil
}

// isNoLink reports whether an error says that there is no link of a name.
func isNoLink(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL)
}

// removeSecretDir removes a Secret's directory under a temporary name: without its
// ..data it would be taken for somebody else's after a crash in the middle.
func (w *Writer) removeSecretDir(name string) error {
	w.inotify.Remove(name)
	err := w.clearing(plan.Temporary, func() error { return w.vol.Rename(name, plan.Temporary) })
	if err == nil {
		err = w.vol.SyncDir(".") // else a power cut may undo the rename and not the removals
	}
	if err == nil {
		err = w.removeAll(plan.Temporary)
	}
	return err
}

// removeAll removes name and what is below it; that it is not there is no
// error. It follows no link. A directory whose mode keeps us out (planted: ours
// always let us in) is opened up first.
func (w *Writer) removeAll(name string) error {
	info, err := w.vol.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil || !info.Mode.IsDir():
		return w.remove(name)
	}
	if info.Mode.Perm()&0o700 != 0o700 {
		if err := w.vol.Chmod(name, 0o700); err != nil {
			return err
		}
	}
	defer w.hold(name)()
	entries, err := w.vol.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.removeAll(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return w.remove(name)
}

func (w *Writer) remove(name string) error {
	if err := w.vol.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// hold keeps a directory open until release. One that cannot be opened is reached
// name by name.
func (w *Writer) hold(dir string) (release func()) {
	release, err := w.vol.Hold(dir)
	if err != nil {
		return func() {}
	}
	return release
}
