package writer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// replace puts a new directory with what gen holds in the place of cur (nil for
// none). The numbers are those of the package comment. An error is always from
// before the rename of 7: cur is still what apps see, and what was made is
// removed.
func (w *Writer) replace(cur *generation, gen generation) error {
	want := gen.links()
	if cur == nil {
		if err := w.refuseTaken(want); err != nil {
			return err
		}
	}
	for tries := 0; ; tries++ {
		gen := gen
		gen.dir = w.freshName()
		err := w.tryReplace(cur, &gen, want)
		if err == nil {
			w.current.Store(&gen)
			w.last = max(w.last, gen.record.Generation)
			w.afterSwap(cur, &gen, want)
			return nil
		}
		w.undo(cur, &gen)
		if errors.Is(err, fs.ErrExist) && tries < maxNames {
			continue
		}
		// A full volume: the oldest generation within its grace makes room.
		if !noSpace(err) || !w.dropOldest() {
			return w.explain(fmt.Errorf("publish generation %d in %q: %w", gen.record.Generation, w.opts.Dir, err))
		}
	}
}

// tryReplace is steps 1 to 7.
func (w *Writer) tryReplace(cur, gen *generation, want map[string]string) error {
	if err := w.build(gen); err != nil { // 1, 2, 3
		return err
	}
	if err := w.writeRecord(gen.dir, gen.record); err != nil { // 4
		return err
	}
	w.inotify.follow(gen) // before anyone is led there: nothing that is done to it then goes unseen
	have := cur.links()
	if w.unlinked { // some are missing that could not be put back
		have = maps.Clone(have)
		maps.DeleteFunc(have, func(name, target string) bool { return !w.leads(name, target) })
	}
	if err := w.addLinks(want, have, gen.record.FileMode); err != nil { // 5
		return err
	}
	if err := w.vol.SyncDir("."); err != nil { // 6
		return fmt.Errorf("sync the volume: %w", err)
	}
	return w.lead(dataLink, gen.dir) // 7
}

// undo removes what a publish that failed has made.
func (w *Writer) undo(cur, gen *generation) {
	w.inotify.forget(gen)
	w.tidy()
	if cur != nil && cur.record.Flat != gen.record.Flat {
		w.warn("could not put back links, will try again", ".", w.putLinks(cur)) // a name may be in both layouts
	}
}

// links has all the links that lead to it; of nil, none. They are made once, by
// whoever holds the Writer's lock, and not to be changed.
func (g *generation) links() map[string]string {
	if g == nil {
		return nil
	}
	if g.leading == nil {
		g.leading = links(g.record.Flat, g.record.asFiles())
	}
	return g.leading
}

// maxNames is how many names are tried: one that is taken was planted.
const maxNames = 3

// freshName gives a name that no generation of this process had: the clock may
// stand still or go back. One that is taken all the same makes mkdir fail, and
// the next try has another name.
func (w *Writer) freshName() string {
	now := w.opts.now()
	if !now.After(w.named) {
		now = w.named.Add(1)
	}
	w.named = now
	return newName(now)
}

// build makes the generation's directory, whole and on disk.
func (w *Writer) build(gen *generation) error {
	dirs, files := contents(gen.dir, gen.record.Flat, gen.set)
	gen.dirNames, gen.files = dirs, sortedKeys(files)
	for _, d := range dirs { // outer first
		if err := w.mkdir(d, gen.record.FileMode); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
	}
	release, _ := w.hold(dirs)
	defer release()
	for _, name := range gen.files {
		if err := w.writeFile(name, files[name], gen.record.FileMode); err != nil {
			return err
		}
	}
	for _, d := range slices.Backward(dirs) { // inner first
		if err := w.vol.SyncDir(d); err != nil {
			return fmt.Errorf("sync a directory: %w", err)
		}
	}
	return nil
}

// hold opens directories, the outer ones first, until release, and tells whether
// all could be opened.
func (w *Writer) hold(dirs []string) (release func(), held bool) {
	releases := make([]func(), len(dirs))
	held = true
	for i, d := range dirs {
		var one bool
		releases[i], one = w.vol.Hold(d)
		held = held && one
	}
	return func() {
		for _, release := range slices.Backward(releases) {
			release()
		}
	}, held
}

// names has the directories, outer first, and the files that the record says
// there are. They are made once, by whoever holds the Writer's lock.
func (g *generation) names() (dirs, files []string) {
	if g.dirNames == nil {
		dirs, files := contents(g.dir, g.record.Flat, Set{Secrets: g.record.asFiles()})
		g.dirNames, g.files = dirs, sortedKeys(files)
	}
	return g.dirNames, g.files
}

// contents lists what a generation's directory is made of: its directories,
// outer first, and its files.
func contents(root string, flat bool, set Set) (dirs []string, files map[string]secret.Value) {
	files = map[string]secret.Value{}
	all := map[string]bool{root: true}
	for name, f := range set.Secrets {
		for file, value := range f.Content {
			p := path.Join(root, inGeneration(flat, name, file))
			files[p] = value
			for d := path.Dir(p); !all[d]; d = path.Dir(d) {
				all[d] = true
			}
		}
	}
	return sortedKeys(all), files
}

// mkdir makes a directory with the mode that the files' mode asks for, past any
// umask, and with the setgid bit if it inherited one (fsGroup).
func (w *Writer) mkdir(name string, fileMode fs.FileMode) error {
	if err := w.vol.Mkdir(name, dirMode(fileMode)); err != nil {
		return err
	}
	return w.setDirMode(name, fileMode)
}

// setDirMode leaves a right mode alone: the kernel takes the setgid bit from a
// directory when one who is not in its group sets any mode.
func (w *Writer) setDirMode(name string, fileMode fs.FileMode) error {
	info, err := w.vol.Lstat(name)
	if err != nil || info.Mode().Perm() == dirMode(fileMode) {
		return err
	}
	return w.vol.Chmod(name, dirMode(fileMode)|info.Mode()&fs.ModeSetgid)
}

// writeFile makes a new file, whole and on disk.
func (w *Writer) writeFile(name string, data []byte, mode fs.FileMode) (err error) {
	f, err := w.vol.Create(name, mode)
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close a file: %w", cerr)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	if err := f.Chmod(mode); err != nil {
		return fmt.Errorf("set a file's mode: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync a file: %w", err)
	}
	return nil
}

func (w *Writer) writeRecord(dir string, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("make the record: %w", err)
	}
	return w.writeFile(recordName(dir), data, rec.FileMode)
}

// replaceFile puts a file in the place of another one, or of none, in one step:
// written and synced under a temporary name, renamed, synced.
func (w *Writer) replaceFile(name string, data []byte) error {
	for {
		err := w.tryReplaceFile(name, data)
		if err == nil || !noSpace(err) || !w.dropOldest() {
			return err
		}
	}
}

func (w *Writer) tryReplaceFile(name string, data []byte) error {
	tmp := name + temporary
	if err := w.removeAll(tmp); err != nil {
		return err
	}
	err := w.writeFile(tmp, data, w.opts.FileMode)
	if err == nil {
		if err = w.vol.Rename(tmp, name); err != nil && w.isDir(name) { // planted by someone
			if err = w.removeAll(name); err == nil {
				err = w.vol.Rename(tmp, name)
			}
		}
	}
	if err != nil {
		w.warn("could not remove a leftover, will try again", tmp, w.removeAll(tmp))
		return err
	}
	return w.vol.SyncDir(".")
}

// markComplete keeps on disk that the files, which stay, are all there are.
func (w *Writer) markComplete(cur *generation) error {
	complete := *cur
	complete.record.Complete = true
	data, err := json.Marshal(complete.record)
	if err == nil {
		err = w.replaceFile(recordName(cur.dir), data)
	}
	if err != nil {
		return w.explain(fmt.Errorf("write the record of generation %d in %q: %w", cur.record.Generation, w.opts.Dir, err))
	}
	w.current.Store(&complete)
	return nil
}

// page is what a file system hands out: a small file takes one.
const page = 4096

func pages(bytes int64) int64 { return (bytes + page - 1) / page * page }

// size is what the files of set take on a volume, in bytes, in whole pages.
func size(set Set) (bytes int64) {
	for _, f := range set.Secrets {
		for _, v := range f.Content {
			bytes += pages(int64(len(v)))
		}
	}
	return max(bytes, page)
}
