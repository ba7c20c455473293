package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// maxNames is how many names are tried: one that is taken was planted.
const maxNames = 3

// replace puts a new directory with set in the place of cur (nil for none). An
// error is always from before the rename of 7: cur is still what apps see, and
// what was made is removed.
func (w *Writer) replace(cur *generation, rec plan.Record, set Set, restored bool) error {
	for tries := 1; ; tries++ {
		gen := newGeneration(w.freshName(), rec, set, restored)
		err := w.upToSwap(cur, gen)
		if err == nil {
			w.current.Store(gen)
			w.last = max(w.last, rec.Generation)
			w.afterSwap(cur, gen)
			return nil
		}
		w.undo(cur, gen)
		nameTaken := errors.Is(err, fs.ErrExist) && tries < maxNames
		// A full volume: the oldest generation within its grace makes room.
		if !nameTaken && !(noSpace(err) && w.dropOldest()) {
			return w.explain(fmt.Errorf("publish generation %d in %q: %w", rec.Generation, w.opts.Dir, err))
		}
	}
}

// freshName gives a name that no generation of this process had: the clock may
// stand still or go back.
func (w *Writer) freshName() string {
	now := w.opts.now()
	if !now.After(w.newest) {
		now = w.newest.Add(1)
	}
	w.newest = now
	return plan.NewName(now)
}

// upToSwap is steps 1 to 7 of the package comment.
func (w *Writer) upToSwap(cur, gen *generation) error {
	missing, err := w.missingLinks(cur, gen)
	if err != nil {
		return err
	}
	if err := w.build(gen.Inside); err != nil { // 1, 2, 3
		return err
	}
	if err := w.writeFile(gen.Record); err != nil { // 4
		return err
	}
	w.watchAll(gen.Inside)                           // before apps see it, so that no change to it goes unseen
	if err := w.put(gen.Plan, missing); err != nil { // 5
		return err
	}
	if err := w.vol.SyncDir("."); err != nil { // 6
		return err
	}
	return w.point(gen.Link()) // 7
}

// missingLinks lists what step 5 has to make. It is what the plans differ by,
// without a look at the volume, unless something is known to be amiss there.
func (w *Writer) missingLinks(cur, gen *generation) ([]plan.Entry, error) {
	if cur == nil {
		return gen.Outside, w.refuseTaken(gen.Outside)
	}
	if w.pending {
		if err := w.put(cur.Plan, w.mismatched(cur.Outside)); err != nil {
			return nil, err
		}
	}
	return gen.MissingFrom(cur.Plan), nil
}

// refuseTaken reports whether a volume that contains nothing of ours has other
// entries where we need names: then it is somebody else's, and is left as it is.
func (w *Writer) refuseTaken(needed []plan.Entry) error {
	var taken []error
	for _, e := range needed {
		top := plan.Top(e.Path)
		info, err := w.vol.Lstat(top)
		switch {
		case top != e.Path, errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case w.isSecretDir(top), w.isOwnLink(top): // of a first publish that did not come to its end
		default:
			taken = append(taken, fmt.Errorf("%w: %q is needed and taken by a %s that secret-sync did not make: use an empty volume, or another SECRETSYNC_DIR",
				ErrUnusable, path.Join(w.opts.Dir, top), kind(info.Mode)))
		}
	}
	return errors.Join(taken...)
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m.IsRegular():
		return "file"
	case m.Type() == fs.ModeSymlink:
		return "symbolic link"
	default:
		return "special file"
	}
}

// build makes the generation's directory, whole and on disk.
func (w *Writer) build(inside []plan.Entry) error {
	for _, e := range inside { // outer first
		if !e.Mode.IsDir() {
			if err := w.writeFile(e); err != nil {
				return err
			}
			continue
		}
		if err := w.mkdir(e); err != nil {
			return err
		}
		release, err := w.vol.Hold(e.Path)
		if err != nil {
			return err
		}
		defer release()
	}
	for _, dir := range slices.Backward(plan.Dirs(inside)) { // inner first
		if err := w.vol.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// undo removes what a publish that failed has made.
func (w *Writer) undo(cur, gen *generation) {
	w.unwatch(gen)
	w.tidyUp()
	if cur != nil && cur.record.Flat != gen.record.Flat { // a name may be in both layouts
		w.putBack(cur.Plan)
	}
}

// afterSwap is steps 8 to 12. Apps have the new generation: what fails here is
// logged and tried again, but the publish has been done.
func (w *Writer) afterSwap(cur, gen *generation) {
	w.unsynced = true
	w.syncSwap()                // 8
	w.wakeDirectories(cur, gen) // 9
	if cur != nil {
		w.wakeFiles(cur) // 10
		w.retire(cur.Dir, size(cur.set), cur.Inside)
	}
	if w.pending || cur != nil && !gen.Covers(cur.Plan) {
		w.tidyUp() // 11
	}
	w.collect() // 12
}

// syncSwap is step 8, until it went through, and reports whether it did.
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

// wakeDirectories is step 9: it renames ..data over itself where files changed.
func (w *Writer) wakeDirectories(old, gen *generation) {
	for _, e := range gen.Outside {
		name := path.Dir(e.Path)
		if path.Base(e.Path) != plan.DataLink || !changed(name, old, gen) {
			continue
		}
		release := w.hold([]string{name})
		w.retryLater("could not wake the watchers of a directory", name, w.point(e))
		release()
	}
	if old != nil && (old.record.Flat != gen.record.Flat || old.record.FileMode != gen.record.FileMode) {
		w.putBack(gen.Plan)
	}
}

// changed reports whether a Secret has other files in gen than in old, nil for
// none. A new one has: its directory has been there since before the swap, and
// somebody may be watching it already. After a repair all have.
func changed(name string, old, gen *generation) bool {
	return old == nil || old.record.FileMode != gen.record.FileMode ||
		old.record.Generation == gen.record.Generation || !old.set.Equal(name, gen.set.Secrets[name])
}

// wakeFiles is step 10. Old files stay for the grace, so that nothing else would
// wake those who watch their inodes.
func (w *Writer) wakeFiles(old *generation) {
	w.unwatch(old)
	defer w.hold(plan.Dirs(old.Inside))()
	for _, e := range old.Inside {
		if e.Mode.IsDir() {
			continue
		}
		info, err := w.vol.Lstat(e.Path)
		if err != nil || !info.Mode.IsRegular() {
			continue // somebody else's work: there is no inode of ours to wake
		}
		if err := w.vol.Chmod(e.Path, info.Mode); err != nil {
			w.log.Debug("could not wake the watchers of a replaced file", "path", e.Path, "err", err)
		}
	}
}

// hold opens directories, the outer ones first, until release. One that cannot
// be opened is reached name by name.
func (w *Writer) hold(dirs []string) (release func()) {
	var releases []func()
	for _, dir := range dirs {
		if release, err := w.vol.Hold(dir); err == nil {
			releases = append(releases, release)
		}
	}
	return func() {
		for _, release := range slices.Backward(releases) {
			release()
		}
	}
}
