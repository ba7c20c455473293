package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// put makes entries outside of the generation's directory as planned, whatever has
// their names: in a volume of ours these are ours. It returns those that were not
// as planned. They are on disk then.
func (w *Writer) put(entries []plan.Entry) (changed []plan.Entry, err error) {
	var errs []error
	dirs := map[string]bool{}
	for _, e := range entries { // parents first
		if !w.differs(e) {
			continue
		}
		changed = append(changed, e)
		dirs[path.Dir(e.Path)] = true
		if e.Mode.IsDir() {
			dirs[e.Path] = true
		}
		switch info, err := w.vol.Lstat(e.Path); {
		case err != nil && !errors.Is(err, fs.ErrNotExist): // what cannot be looked at is not replaced
			errs = append(errs, err)
		case e.Mode.IsDir() && err == nil && info.Mode.IsDir():
			errs = append(errs, w.setDirMode(e))
		default:
			errs = append(errs, w.place(e))
		}
	}
	for dir := range dirs {
		errs = append(errs, w.vol.SyncDir(dir))
	}
	return changed, errors.Join(errs...)
}

// place puts an entry in the place of another one, or of none, in one step: made
// under a temporary name beside it, then renamed. The oldest generations within
// their grace make room.
func (w *Writer) place(e plan.Entry) error {
	tmp := path.Join(path.Dir(e.Path), plan.Temporary)
	return w.makeRoom(func() error {
		err := w.clearing(tmp, func() error { return w.make(tmp, e) })
		if err == nil {
			err = w.clearing(e.Path, func() error { return w.vol.Rename(tmp, e.Path) })
		}
		if err == nil || !w.differs(e) && w.isGone(tmp) { // it failed but did happen
			if e.Path == plan.DataLink {
				w.astray.Store(false)
			}
			return nil
		}
		w.retryLater("could not remove a leftover, will try again", tmp, w.removeAll(tmp))
		return err
	})
}

// make makes an entry, whole and on disk, under another name. A Secret's directory
// has its ..data by then, so that a crash never leaves one that cannot be
// distinguished from somebody else's.
func (w *Writer) make(name string, e plan.Entry) error {
	at := e
	at.Path = name
	if err := w.create(at); err != nil || !e.Mode.IsDir() {
		return err
	}
	target := plan.OwnTarget(path.Join(e.Path, plan.DataLink))
	if err := w.vol.Symlink(target, path.Join(name, plan.DataLink)); err != nil {
		return err
	}
	return w.vol.SyncDir(name)
}

// clearing makes a call, and again without what has the name: it is of a crash, or
// someone put it there.
func (w *Writer) clearing(name string, call func() error) error {
	err := call()
	for _, taken := range []error{fs.ErrExist, syscall.EISDIR, syscall.ENOTDIR} {
		if errors.Is(err, taken) {
			if err := w.removeAll(name); err != nil {
				return fmt.Errorf("take back %q: %w", name, err)
			}
			return call()
		}
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

// create makes a new entry with the planned mode, past any umask: a directory, a
// link, or a file that is whole and on disk.
func (w *Writer) create(e plan.Entry) error {
	switch {
	case e.IsLink():
		return w.vol.Symlink(e.Target, e.Path)
	case !e.Mode.IsDir():
		return w.createFile(e)
	}
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

// createFile sets the mode where umask or a default ACL took something of it: each
// chmod is an event for every watch.
func (w *Writer) createFile(e plan.Entry) (err error) {
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
