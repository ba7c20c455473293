package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// recover makes the volume right after whatever an earlier process left. What
// apps can read stays as it is; only what leads nowhere goes.
//
//  1. What was told (told.go).
//  2. The generation that ..data leads to. Without one (no link, one that leads
//     nowhere or elsewhere) the newest whole generation there is; a volume
//     without any is empty.
//  3. Other generations: those of lower numbers were published and get a new
//     grace; the rest never were, and go.
//  4. Temporaries, records without a directory, stale links go; missing and
//     foreign links of ours are put right.
//
// A crash in any of this leaves what the next start recovers the same way. A
// failure to remove is no reason not to start; one to look is. What is in the
// files is believed until the first Publish compares it (confirm).
func (w *Writer) recover() error {
	w.readTold() // 1
	entries, err := w.vol.ReadDir(".")
	if err != nil {
		return fmt.Errorf("%w: read %q: %w", ErrUnusable, w.opts.Dir, err)
	}
	found := w.findGenerations(entries)
	cur := w.findCurrent(found) // 2
	w.current.Store(cur)
	if cur != nil {
		for _, g := range found { // 3
			if n := g.record.Generation; g.dir != cur.dir && n != 0 && n <= cur.record.Generation {
				w.retire(g, w.sizeOf(g))
			}
		}
		if err := w.putLinks(cur); err != nil { // 4
			w.warn("could not put back links, will try again", ".", w.explain(err))
		}
	}
	w.tidy()
	w.collect()
	return nil
}

// sizeOf is what the files of a generation take on the volume, in bytes.
func (w *Writer) sizeOf(g *generation) (bytes int64) {
	_, files := g.names()
	for _, name := range files {
		if info, err := w.vol.Lstat(name); err == nil && info.Mode().IsRegular() {
			bytes += pages(info.Size())
		}
	}
	return max(bytes, page)
}

// findGenerations reads all generations there are, oldest number first. One
// whose record cannot be read has the number 0.
func (w *Writer) findGenerations(entries []fs.DirEntry) []*generation {
	var found []*generation
	for _, e := range entries {
		if !generationName.MatchString(e.Name()) || !e.IsDir() {
			continue
		}
		g := &generation{dir: e.Name(), restored: true}
		if data, err := w.vol.ReadFile(recordName(e.Name())); err == nil {
			g.record, err = parseRecord(data)
			if err != nil {
				w.log.Warn("a generation's record cannot be read", "path", recordName(e.Name()), "err", err)
			}
		}
		found = append(found, g)
	}
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i], found[j]
		return a.record.Generation < b.record.Generation || a.record.Generation == b.record.Generation && a.dir < b.dir
	})
	return found
}

// findCurrent gives the generation that apps see, with its files, nil for none,
// and keeps the highest number that was used.
func (w *Writer) findCurrent(found []*generation) *generation {
	target, err := w.vol.Readlink(dataLink)
	for _, g := range found {
		if err != nil || g.dir != target {
			continue
		}
		if g.record.Generation == 0 {
			w.rebuildRecord(g, found)
		} else {
			w.load(g)
		}
		w.last = max(w.last, g.record.Generation)
		return g
	}
	for _, g := range found { // one of these was seen, or all
		w.last = max(w.last, g.record.Generation)
	}
	for _, g := range slices.Backward(found) {
		if g.record.Generation == 0 || !w.load(g) {
			continue
		}
		w.log.Warn("..data led to no generation: leading it to the newest whole one", "generation", g.record.Generation, "path", target)
		// If that fails it stays the one to be led to: the next look tries again.
		if err := errors.Join(w.lead(dataLink, g.dir), w.vol.SyncDir(".")); err != nil {
			w.warn("could not put back the link to the generation, will try again", dataLink, w.explain(err))
		}
		w.opts.Repaired()
		return g
	}
	return nil
}

// load reads the files that the record names and tells whether all are there.
// One that is not is missing from the set, so that the next publish differs.
func (w *Writer) load(g *generation) (whole bool) {
	whole = true
	g.set = Set{Complete: g.record.Complete, Secrets: map[string]Files{}}
	for name, s := range g.record.Secrets {
		files := Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Content: map[string]secret.Value{}}
		for file := range s.Files {
			p := path.Join(g.dir, inGeneration(g.record.Flat, name, file))
			data, err := w.vol.ReadFile(p)
			if err != nil {
				whole = false
				w.log.Warn("a file of the generation cannot be read", "path", p, "err", err)
				continue
			}
			files.Content[file] = data
		}
		g.set.Secrets[name] = files
	}
	return whole
}

// rebuildRecord makes a record for the generation that apps see, from its files.
// Which one it was is not known any more: it counts as one that nobody was told
// of, and as not complete until the API has confirmed it.
func (w *Writer) rebuildRecord(g *generation, found []*generation) {
	g.set = Set{Secrets: map[string]Files{}}
	flat := w.opts.Flat
	w.walk(g.dir, func(p string, data []byte) {
		name, file := "", strings.TrimPrefix(p, g.dir+"/")
		if !flat {
			name, file, _ = strings.Cut(file, "/")
		}
		if !validPath(file) || !flat && !validPath(name) {
			return
		}
		if _, ok := g.set.Secrets[name]; !ok {
			g.set.Secrets[name] = Files{Content: map[string]secret.Value{}}
		}
		g.set.Secrets[name].Content[file] = data
	})
	for _, other := range found {
		w.last = max(w.last, other.record.Generation)
	}
	w.last++
	g.record = next(nil, w.last, g.set, flat, w.opts.FileMode)
	g.record.Since = w.last
	w.log.Warn("the record of the generation cannot be read: rebuilt, and counted as not told", "generation", w.last)
	if !flat { // in the flat layout the files do not tell which Secrets they are from
		w.warn("could not write the rebuilt record, will try again", recordName(g.dir), w.restoreFile(recordName(g.dir), g.record))
	}
}

// walk calls f for each regular file below dir that can be read.
func (w *Writer) walk(dir string, f func(name string, data []byte)) {
	entries, err := w.vol.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if e.IsDir() {
			w.walk(p, f)
		} else if data, err := w.vol.ReadFile(p); err == nil {
			f(p, data)
		}
	}
}

// putLinks makes every link right that is not.
func (w *Writer) putLinks(cur *generation) error {
	want, have := cur.links(), map[string]string{}
	for name := range want {
		if target, err := w.vol.Readlink(name); err == nil && (path.Dir(name) == "." || w.isDir(path.Dir(name))) {
			have[name] = target
		}
	}
	err := w.addLinks(want, have, cur.record.FileMode)
	w.unlinked = err != nil
	return err
}

// tidy removes all names of our own that neither the current generation nor one
// within its grace needs: what crashes and failed publishes leave. Entries of
// others stay, and are named once.
func (w *Writer) tidy() {
	w.untidy = false
	entries, err := w.vol.ReadDir(".")
	if err != nil {
		w.warn("could not look for leftovers, will try again", ".", err)
		return
	}
	needed, want, err := w.needed()
	if err != nil {
		w.warn("could not look for leftovers, will try again", dataLink, err)
		return
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case needed[name]:
			if e.IsDir() && !isOwn(name) {
				w.tidySecretDir(name, want)
			}
		case isOwn(name):
			w.warn("could not remove a leftover, will try again", name, w.removeAll(name))
		case e.IsDir() && w.isSecretDir(name):
			w.warn("could not remove the directory of a Secret that is gone, will try again", name, w.removeSecretDir(name))
		case w.isOwnLink(name):
			w.warn("could not remove a stale link, will try again", name, w.vol.Remove(name))
		default:
			w.foreignEntry(name)
		}
	}
	if !w.untidy {
		clear(w.said)
	}
}

// needed has the names in DIR that stay, and the links. What ..data leads to is
// among them, whatever we believe that it should: apps may be reading it.
func (w *Writer) needed() (names map[string]bool, want map[string]string, err error) {
	names = map[string]bool{notifyFile: true}
	cur := w.current.Load()
	if cur != nil {
		names[dataLink], names[cur.dir], names[recordName(cur.dir)] = true, true, true
		want = cur.links()
		for name := range want {
			names[topOf(name)] = true
		}
	}
	for _, r := range w.old {
		names[r.dir], names[recordName(r.dir)] = true, true
	}
	target, err := w.vol.Readlink(dataLink)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EINVAL): // none, or no link
		return names, want, nil
	case err != nil:
		return nil, nil, err
	}
	if !names[target] && generationName.MatchString(target) && w.isDir(target) {
		names[dataLink], names[target], names[recordName(target)] = true, true, true
		w.untidy = true // until it does not any more
	}
	return names, want, nil
}

// tidySecretDir removes links and temporaries of ours that the Secret does not
// need any more.
func (w *Writer) tidySecretDir(dir string, want map[string]string) {
	entries, err := w.vol.ReadDir(dir)
	if err != nil {
		w.warn("could not look for leftovers, will try again", dir, err)
		return
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if _, ok := want[p]; ok {
			continue
		}
		if strings.HasPrefix(e.Name(), "..") && strings.HasSuffix(e.Name(), temporary) || w.isOwnLink(p) {
			w.warn("could not remove a stale link, will try again", p, w.removeAll(p))
		}
	}
}

// maxForeign bounds how many entries of others are named and remembered.
const maxForeign = 64

// foreignEntry names an entry that is not ours, once.
func (w *Writer) foreignEntry(name string) {
	if !w.foreign[name] && len(w.foreign) < maxForeign {
		w.foreign[name] = true
		w.log.Warn("an entry in the volume is not of secret-sync: it stays", "path", name)
	}
}
