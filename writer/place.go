package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// temporaryLink is made beside the link that it replaces.
const temporaryLink = plan.DataLink + plan.Temporary

// put makes entries outside of the generation's directory as p plans them,
// whatever has their names: in a volume of ours these are ours. All but what is
// directly in DIR is on disk then.
func (w *Writer) put(p *plan.Plan, entries []plan.Entry) error {
	complete := map[string]bool{} // by the Secret's directory: it was just made, with all its links
	var errs []error
	for _, e := range entries {
		dir := path.Dir(e.Path)
		if e.Mode.IsDir() {
			dir = e.Path
		}
		if _, seen := complete[dir]; dir != "." && !seen {
			complete[dir] = !w.isDir(dir)
			if complete[dir] {
				errs = append(errs, w.makeSecretDir(p, dir))
			}
		}
		if !complete[dir] {
			errs = append(errs, w.putEntry(e))
		}
	}
	for dir, made := range complete {
		if !made {
			errs = append(errs, w.vol.SyncDir(dir))
		}
	}
	return errors.Join(errs...)
}

func (w *Writer) putEntry(e plan.Entry) error {
	switch {
	case e.Mode.IsDir():
		return w.setDirMode(e)
	case e.IsLink():
		return w.point(e)
	default:
		return w.replaceFile(e)
	}
}

// putBack makes all that is outside of the generation's directory as planned.
func (w *Writer) putBack(p *plan.Plan) {
	if err := w.put(p, w.mismatched(p.Outside)); err != nil {
		w.retryLater("could not put back links, will try again", ".", w.explain(err))
	}
}

// makeSecretDir makes a Secret's directory with all its links and puts it in
// place whole, so that a crash never leaves a directory that cannot be distinguished
// from somebody else's.
func (w *Writer) makeSecretDir(p *plan.Plan, name string) error {
	if err := w.removeAll(plan.LinkTemp); err != nil {
		return err
	}
	dir, _ := p.Find(name)
	dir.Path = plan.LinkTemp
	if err := w.mkdir(dir); err != nil {
		return err
	}
	for _, e := range p.Below(name) {
		if err := w.vol.Symlink(e.Target, path.Join(plan.LinkTemp, path.Base(e.Path))); err != nil {
			return err
		}
	}
	if err := w.vol.SyncDir(plan.LinkTemp); err != nil {
		return err
	}
	if err := w.takePlace(plan.LinkTemp, name); err != nil {
		return err
	}
	w.inotify.Add(name)
	return nil
}

// point makes a link point to its target, wherever it pointed, in one step: a
// symlink beside it, renamed over it. A rename that failed but did happen is
// one that happened.
func (w *Writer) point(e plan.Entry) error {
	tmp := path.Join(path.Dir(e.Path), temporaryLink)
	err := w.vol.Symlink(e.Target, tmp)
	if errors.Is(err, fs.ErrExist) { // of a crash, or planted
		if err := w.removeAll(tmp); err != nil {
			return err
		}
		err = w.vol.Symlink(e.Target, tmp)
	}
	if err != nil {
		return err
	}
	if err := w.takePlace(tmp, e.Path); err != nil && !(w.matches(e) && w.isGone(tmp)) {
		return err
	}
	if e.Path == plan.DataLink {
		w.astray.Store(false)
	}
	return nil
}

// replaceFile puts a file in the place of another one, or of none, in one step:
// written and synced under a temporary name, renamed, synced.
func (w *Writer) replaceFile(e plan.Entry) error {
	for {
		err := w.tryReplaceFile(e)
		if !noSpace(err) || !w.dropOldest() {
			return err
		}
	}
}

func (w *Writer) tryReplaceFile(e plan.Entry) error {
	tmp := plan.Entry{Path: e.Path + plan.Temporary, Mode: e.Mode, Data: e.Data}
	if e.Mode == 0 {
		tmp.Mode = w.opts.FileMode
	}
	if err := w.removeAll(tmp.Path); err != nil {
		return err
	}
	err := w.writeFile(tmp)
	if err == nil {
		err = w.takePlace(tmp.Path, e.Path)
	}
	if err != nil {
		w.retryLater("could not remove a leftover, will try again", tmp.Path, w.removeAll(tmp.Path))
		return err
	}
	return w.vol.SyncDir(".")
}

// takePlace renames an entry over another one, also over one of another kind,
// which someone put there.
func (w *Writer) takePlace(from, to string) error {
	err := w.vol.Rename(from, to)
	if err == nil || !w.inTheWay(from, to) {
		return err
	}
	if err := w.removeAll(to); err != nil {
		return fmt.Errorf("take back %q: %w", to, err)
	}
	return w.vol.Rename(from, to)
}

// inTheWay reports whether one of two entries is a directory and the other not. What
// cannot be looked at is not removed.
func (w *Writer) inTheWay(from, to string) bool {
	a, errFrom := w.vol.Lstat(from)
	b, errTo := w.vol.Lstat(to)
	return errors.Join(errFrom, errTo) == nil && a.Mode.IsDir() != b.Mode.IsDir()
}

// mkdir makes a directory with the planned mode, past any umask.
func (w *Writer) mkdir(e plan.Entry) error {
	if err := w.vol.Mkdir(e.Path, e.Mode); err != nil {
		return err
	}
	return w.setDirMode(e)
}

// setDirMode leaves a right mode alone: the kernel takes the setgid bit (of an
// fsGroup) from a directory when a process that is not in its group sets any mode.
func (w *Writer) setDirMode(e plan.Entry) error {
	info, err := w.vol.Lstat(e.Path)
	if err != nil || info.Mode.Perm() == e.Mode.Perm() {
		return err
	}
	return w.vol.Chmod(e.Path, e.Mode.Perm()|info.Mode&fs.ModeSetgid)
}

// writeFile makes a new file, whole and on disk. It sets the mode where umask or
// a default ACL took something of it: each chmod is an event for every watch.
func (w *Writer) writeFile(e plan.Entry) (err error) {
	f, err := w.vol.Create(e.Path, e.Mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(e.Data); err != nil {
		return err
	}
	if mode, err := f.Mode(); err != nil || mode != e.Mode {
		if err := f.Chmod(e.Mode); err != nil {
			return err
		}
	}
	return f.Sync()
}
