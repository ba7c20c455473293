package writer

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// recover makes the volume right after whatever an earlier process left. What
// apps can read stays as it is; only what nothing points to is removed.
//
//  1. Which targets were notified (state.go).
//  2. The generation that ..data points to. Without one (no link, one that points
//     nowhere or elsewhere) the newest whole generation there is, or else the
//     newest one: it has some files, and the API may be away. A volume without
//     any is empty.
//  3. Other generations: those of lower numbers were published and get a new
//     grace; the rest never were, and go.
//  4. Links and directories of Secrets are put right; temporaries, records
//     without a directory and stale links go (tidy.go).
//
// A crash in any of this leaves what the next start recovers the same way. A
// failure to remove is no reason not to start; one to look is. What is in the
// files is believed until the first Publish compares it (confirm).
func (w *Writer) recover() error {
	w.readNotified() // 1
	entries, err := w.vol.ReadDir(".")
	if err != nil {
		return fmt.Errorf("%w: read %q: %w", ErrUnusable, w.opts.Dir, err)
	}
	found := w.findGenerations(entries)
	cur, err := w.findCurrent(found) // 2
	if err != nil {
		return fmt.Errorf("%w: see which generation is in %q: %w", ErrUnusable, w.opts.Dir, err)
	}
	w.current.Store(cur)
	for _, f := range found { // 3
		if n := f.record.Generation; f.dir != cur.Dir && n != 0 && n <= cur.record.Generation {
			w.old = append(w.old, retired{dir: f.dir, at: w.opts.now(), size: w.sizeOf(f)})
		}
	}
	w.tidyOrRetry() // 4
	w.collect()
	w.arm()
	return nil
}

// found is a generation's directory. The number of one whose record cannot be
// read is 0.
type found struct {
	dir    string
	record plan.Record
}

// findGenerations reads the records of all generations there are, lowest number
// first.
func (w *Writer) findGenerations(entries []fs.DirEntry) (all []found) {
	for _, e := range entries {
		if !plan.GenerationName.MatchString(e.Name()) || !e.IsDir() {
			continue
		}
		rec, err := readRecord(w.vol, e.Name())
		if err != nil {
			w.log.Warn("a generation's record cannot be read", "path", e.Name(), "err", err)
		}
		all = append(all, found{e.Name(), rec})
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.record.Generation, b.record.Generation), cmp.Compare(a.dir, b.dir))
	})
	return all
}

// sizeOf is what the files of a generation take on the volume, in bytes.
func (w *Writer) sizeOf(f found) (bytes int64) {
	for name := range f.record.Paths() {
		info, _ := w.vol.Lstat(path.Join(f.dir, name))
		bytes += plan.Pages(info.Size)
	}
	return bytes
}

// findCurrent gives the generation that apps see, with its files, an empty one for
// none, and keeps the highest number that was used: apps may have seen any, but for
// those above the one that ..data points to. What ..data is has to be known: else all
// that apps read could be taken for leftovers.
func (w *Writer) findCurrent(all []found) (*generation, error) {
	target, err := w.vol.Readlink(plan.DataLink)
	if err != nil && !isNoLink(err) {
		return nil, err
	}
	at := slices.IndexFunc(all, func(f found) bool { return f.dir == target })
	if at >= 0 && all[at].record.Generation > 0 {
		w.last = max(w.last, all[at].record.Generation)
		cur, _ := w.load(all[at])
		return cur, nil
	}
	for _, f := range all {
		w.last = max(w.last, f.record.Generation)
	}
	if at >= 0 {
		return w.rebuild(target), nil
	}
	g := w.newestWhole(all)
	if g == nil {
		return &generation{Plan: &plan.Plan{}}, nil
	}
	w.log.Warn("..data pointed to no generation: it points to the newest whole one now", "generation", g.record.Generation, "path", target)
	w.astray.Store(true) // until tidy
	w.opts.Repaired()
	return g, nil
}

// newestWhole gives the newest generation that has all its files, or else the newest
// one, nil for none.
func (w *Writer) newestWhole(all []found) (newest *generation) {
	for _, f := range slices.Backward(all) {
		if f.record.Generation == 0 {
			break
		}
		g, whole := w.load(f)
		if whole {
			return g
		}
		newest = cmp.Or(newest, g)
	}
	return newest
}

// load reads the files that the record names and reports whether all are there.
// One that is not is missing from the set, so that the next publish differs.
func (w *Writer) load(f found) (g *generation, whole bool) {
	whole = true
	set := Set{Complete: f.record.Complete, Secrets: map[string]Files{}}
	for name, s := range f.record.Secrets {
		files := Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Content: map[string]secret.Value{}, Modes: map[string]fs.FileMode{}}
		for file, at := range s.Files {
			if at.Mode != 0 {
				files.Modes[file] = at.Mode
			}
			p := path.Join(f.dir, plan.Path(f.record.Flat, name, file))
			data, err := w.vol.ReadFile(p)
			if err != nil {
				whole = false
				w.log.Warn("a file of the generation cannot be read", "path", p, "err", err)
				continue
			}
			files.Content[file] = data
		}
		set.Secrets[name] = files
	}
	return newGeneration(f.dir, f.record, set, true), whole
}

// rebuild makes a record for the generation that apps see, from its files. Which
// one it was is not known any more: it counts as one that no target was notified of,
// and as not complete until the API has confirmed it. In the flat layout the files
// do not show which Secrets they are from.
func (w *Writer) rebuild(dir string) *generation {
	set, unread := Set{Secrets: map[string]Files{}}, [][2]string(nil)
	w.walk(dir, func(p string, data []byte, err error) {
		name, file := "", strings.TrimPrefix(p, dir+"/")
		if !w.opts.Flat {
			name, file, _ = strings.Cut(file, "/")
		}
		if !plan.ValidPath(file) || !w.opts.Flat && !plan.ValidPath(name) {
			return
		}
		if _, ok := set.Secrets[name]; !ok {
			set.Secrets[name] = Files{Content: map[string]secret.Value{}}
		}
		set.Secrets[name].Content[file] = data
		if err != nil {
			unread = append(unread, [2]string{name, file})
		}
	})
	w.last++
	rec := plan.Next(plan.Record{}, Set{}, w.last, set, w.opts.Flat, w.opts.FileMode)
	rec.Since = w.last
	for _, u := range unread { // it is in the record, for readAgain
		delete(set.Secrets[u[0]].Content, u[1])
	}
	w.log.Warn("the record of the generation cannot be read: rebuilt, and all targets are notified again", "generation", w.last)
	return newGeneration(dir, rec, set, true)
}

// walk calls f for each regular file below dir, also for one that cannot be read.
func (w *Writer) walk(dir string, f func(name string, data []byte, err error)) {
	entries, _ := w.vol.ReadDir(dir)
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if e.IsDir() {
			w.walk(p, f)
		} else if e.Type().IsRegular() {
			data, err := w.vol.ReadFile(p)
			f(p, data, err)
		}
	}
}

// readAgain adds to set what could not be read at start, of Secrets that the API has
// not been asked for yet: they are in set as they were found. A file that is still
// there, and still cannot be read, is an error: without it the next generation would
// have less than this one.
func (w *Writer) readAgain(cur *generation, set Set) error {
	for name, rec := range cur.record.Secrets {
		files, there := set.Secrets[name]
		if !there || len(files.Content) == len(rec.Files) || !cur.set.Equal(name, files) {
			continue
		}
		content := maps.Clone(files.Content)
		for file := range rec.Files {
			p := path.Join(cur.Dir, plan.Path(cur.record.Flat, name, file))
			if _, ok := content[file]; ok || !w.mayBeFile(p) {
				continue
			}
			data, err := w.vol.ReadFile(p)
			if err != nil {
				return fmt.Errorf("keep what is in %q: %w", w.opts.Dir, err)
			}
			content[file] = data
		}
		files.Content = content
		set.Secrets[name] = files
	}
	return nil
}

// mayBeFile reports whether name is a regular file, as far as can be seen.
func (w *Writer) mayBeFile(name string) bool {
	info, err := w.vol.Lstat(name)
	return err == nil && info.Mode.IsRegular() || err != nil && !isNoLink(err)
}
