package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// lead makes the link name lead to target, whatever it led to, in one step: a
// symlink beside it, renamed over it. A rename that failed but did happen is
// one that happened.
func (w *Writer) lead(name, target string) error {
	tmp := path.Join(path.Dir(name), dataLink+temporary)
	err := w.vol.Symlink(target, tmp)
	if errors.Is(err, fs.ErrExist) { // of a crash, or planted
		if err := w.removeAll(tmp); err != nil {
			return fmt.Errorf("remove a stale link: %w", err)
		}
		err = w.vol.Symlink(target, tmp)
	}
	if err != nil {
		return fmt.Errorf("make a link: %w", err)
	}
	err = w.vol.Rename(tmp, name)
	if err != nil && w.isDir(name) { // planted by someone
		if err := w.removeAll(name); err != nil {
			return fmt.Errorf("remove a directory in the place of %s: %w", name, err)
		}
		err = w.vol.Rename(tmp, name)
	}
	if err != nil && !(w.leads(name, target) && w.isGone(tmp)) {
		return fmt.Errorf("rename a link into place: %w", err)
	}
	return nil
}

func (w *Writer) isGone(name string) bool {
	_, err := w.vol.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// afterSwap is steps 8 to 12. Apps have the new generation: what fails here is
// said, and tried again, but the publish has been done.
func (w *Writer) afterSwap(cur, gen *generation, want map[string]string) {
	w.unsynced = true
	w.syncSwap()     // 8
	w.wake(cur, gen) // 9, 10
	if cur != nil {
		if cur.record.Flat != gen.record.Flat {
			w.warn("could not put back links, will try again", ".", w.putLinks(gen))
		}
		w.dropLinks(cur.links(), want) // 11
		w.retire(cur, max(size(cur.set), cur.damaged))
	}
	if w.untidy {
		w.tidy()
	}
	w.collect() // 12
}

// syncSwap is step 8, until it went through, and tells whether it did.
func (w *Writer) syncSwap() bool {
	if w.unsynced {
		err := w.vol.SyncDir(".")
		w.unsynced = err != nil
		if err != nil {
			w.log.Warn("could not sync the volume after the swap, will try again", "path", ".", "err", err)
		}
	}
	return !w.unsynced
}

// wake is steps 9 and 10: it touches what watchers may be watching besides DIR.
// OLD's directory stays for the grace, so nothing else would tell them.
func (w *Writer) wake(old, gen *generation) {
	if !gen.record.Flat {
		changed := changedSecrets(old, gen)
		release, _ := w.hold(changed)
		defer release()
		for _, name := range changed {
			link := path.Join(name, dataLink)
			w.warn("could not wake the watchers of a directory", name, w.lead(link, ownTarget(link)))
			if old != nil && old.record.FileMode != gen.record.FileMode {
				w.warn("could not set the mode of a directory, will try again", name, w.setDirMode(name, gen.record.FileMode))
			}
		}
	}
	if old == nil {
		return
	}
	w.inotify.forget(old)
	dirs, files := old.names()
	release, _ := w.hold(dirs)
	defer release()
	for _, name := range files {
		if err := w.vol.Wake(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.log.Debug("could not wake the watchers of a replaced file", "path", name, "err", err)
		}
	}
}

// changedSecrets lists those in gen that have other files than in old, nil for
// none. Those that are new are among them: their directory has been there since
// before the swap, and somebody may be watching it already.
func changedSecrets(old, gen *generation) []string {
	var out []string
	for name, files := range gen.set.Secrets {
		if old == nil || old.record.FileMode != gen.record.FileMode || !old.holdsAll(name, files) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
