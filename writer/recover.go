package writer

import (
	"cmp"
	"fmt"
	"io/fs"
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
//     nowhere or elsewhere) the newest whole generation there is; a volume
//     without any is empty.
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
	cur := w.findCurrent(found) // 2
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
// those above the one that ..data points to.
func (w *Writer) findCurrent(all []found) *generation {
	target, _ := w.vol.Readlink(plan.DataLink)
	at := slices.IndexFunc(all, func(f found) bool { return f.dir == target })
	if at >= 0 && all[at].record.Generation > 0 {
		w.last = max(w.last, all[at].record.Generation)
		cur, _ := w.load(all[at])
		return cur
	}
	for _, f := range all {
		w.last = max(w.last, f.record.Generation)
	}
	if at >= 0 {
		return w.rebuild(target)
	}
	for _, f := range slices.Backward(all) {
		if g, whole := w.load(f); whole && !g.none() {
			w.log.Warn("..data pointed to no generation: it points to the newest whole one now", "generation", f.record.Generation, "path", target)
			w.opts.Repaired()
			return g
		}
	}
	return &generation{Plan: &plan.Plan{}}
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
	set := Set{Secrets: map[string]Files{}}
	w.walk(dir, func(p string, data []byte) {
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
	})
	w.last++
	rec := plan.Next(plan.Record{}, Set{}, w.last, set, w.opts.Flat, w.opts.FileMode)
	rec.Since = w.last
	w.log.Warn("the record of the generation cannot be read: rebuilt, and all targets are notified again", "generation", w.last)
	return newGeneration(dir, rec, set, true)
}

// walk calls f for each regular file below dir that can be read.
func (w *Writer) walk(dir string, f func(name string, data []byte)) {
	entries, _ := w.vol.ReadDir(dir)
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if e.IsDir() {
			w.walk(p, f)
		} else if data, err := w.vol.ReadFile(p); err == nil {
			f(p, data)
		}
	}
}
