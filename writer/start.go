package writer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// start recovers from the state of the volume after an earlier process. Files
// visible to apps stay as they are.
//
//  1. It reads the record of notifications.
//  2. It finds the current generation and reads its files. The values are trusted
//     until a publish confirms them.
//  3. Other generations with a number up to the current one were published before
//     it. They get a new grace period. The rest never was published.
//  4. It restores missing links. Run then reconciles the volume, which removes
//     temporary entries, unpublished generations, records without a directory and
//     stale links.
//
// A crash leaves a volume from which the next start recovers in the same way. An
// unreadable volume is an error: without knowing ..data, the files of apps
// would pass for leftovers. A failure to remove an entry is not.
func (w *Writer) start(ctx context.Context) error {
	w.uncertain.unconfirmed = true
	w.current.Store(&generation.Generation{})
	w.readNotified() // 1
	entries, err := w.vol.ReadDir(".")
	if err != nil {
		return fmt.Errorf("%w: read %q: %w", ErrUnusable, w.opts.Dir, err)
	}
	all := w.findGenerations(entries)
	cur, err := w.findCurrent(ctx, all) // 2
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return fmt.Errorf("%w: find the current generation in %q: %w", ErrUnusable, w.opts.Dir, err)
	}
	w.current.Store(cur)
	w.partial = partialSecrets(cur)
	for _, g := range all { // 3
		if n := g.record.Generation; g.dir != cur.Dir && n != 0 && n <= cur.Record.Generation {
			w.old = append(w.old, retired{dir: g.dir, at: w.now(), size: w.diskSize(g)})
		}
	}
	if w.notified.Volume == "" {
		w.loseNotified(errNoRecord)
	}
	_, err = w.restore(ctx, slices.Concat(cur.Outside, w.records(cur))...) // 4
	w.retryLater("could not restore links, will retry", ".", err)
	w.arm()
	return nil
}

// readNotified reads the record of notifications.
func (w *Writer) readNotified() {
	n, err := readNotified(w.vol)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.loseNotified(err)
		return
	}
	if err == nil && n.Volume == "" {
		n.Volume = rand.Text()
	}
	w.notified = n
	for _, number := range n.Targets {
		// A number of which a target was notified is never used again. The exception
		// is 1: in an empty volume, targets count as notified of it in advance.
		if number > 1 {
			w.used(number)
		}
	}
}

// loseNotified replaces a missing or damaged record of notifications. In a volume
// with a generation, all targets are then pending.
func (w *Writer) loseNotified(err error) {
	lost := !w.current.Load().Empty() || !errors.Is(err, errNoRecord)
	w.notified = generation.Notified{Volume: rand.Text(), Lost: lost}
	if lost {
		w.log.Warn("could not read the record of notifications, notifying all targets again", "path", generation.NotifiedFile, "err", err)
	}
}

// nextNumber returns the number of the next generation. A forged record may have used
// up all numbers. They then start again, and all targets are pending.
func (w *Writer) nextNumber() uint64 {
	if w.last >= generation.MaxGeneration {
		w.last, w.notified = 0, w.notified.Reset()
	}
	return w.last + 1
}

// used prevents a number from being used again.
func (w *Writer) used(number uint64) { w.last = max(w.last, number) }

var errNoRecord = errors.New("the record is missing")

// found is the directory of a generation in the volume. Its number is 0 if its record
// cannot be read.
type found struct {
	dir    string
	record generation.Record
}

// findGenerations returns all generations in the volume, lowest number first.
func (w *Writer) findGenerations(entries []fs.DirEntry) (all []found) {
	for _, e := range entries {
		if !generation.GenerationName.MatchString(e.Name()) || !e.IsDir() {
			continue
		}
		rec, err := readRecord(w.vol, e.Name())
		if err != nil {
			w.log.Warn("could not read the record of a generation", "path", e.Name(), "err", err)
		}
		all = append(all, found{e.Name(), rec})
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.record.Generation, b.record.Generation), cmp.Compare(a.dir, b.dir))
	})
	return all
}

// diskSize returns the space that the files of a generation occupy.
func (w *Writer) diskSize(g found) (bytes int64) {
	for name := range g.record.Paths() {
		info, _ := w.vol.Lstat(path.Join(g.dir, name))
		bytes += generation.DiskSize(info.Size)
	}
	return bytes
}

// findCurrent returns the target of ..data. If ..data points to no generation,
// findCurrent returns the newest complete generation, or else the newest generation:
// it contains some files, and the API server may be unavailable. Apps may have read
// any generation, unless ..data points to a generation with a lower number.
func (w *Writer) findCurrent(ctx context.Context, all []found) (*generation.Generation, error) {
	target, err := w.vol.Readlink(generation.DataLink)
	if err != nil && !volume.NotALink(err) {
		return nil, err
	}
	i := slices.IndexFunc(all, func(g found) bool { return g.dir == target })
	if i >= 0 && all[i].record.Generation > 0 {
		w.used(all[i].record.Generation)
		cur, _ := w.load(ctx, all[i])
		return cur, nil
	}
	for _, g := range all {
		w.used(g.record.Generation)
	}
	if i >= 0 {
		return w.rebuild(ctx, target), nil
	}
	cur := w.newest(ctx, all)
	if !cur.Empty() {
		w.uncertain.unreachable.Store(true)
		w.log.Warn("..data points to no generation, restoring the newest one", "generation", cur.Record.Generation, "path", target)
	}
	return cur, nil
}

// newest returns the newest generation with all its files, or else the newest
// generation, or else the empty generation.
func (w *Writer) newest(ctx context.Context, all []found) *generation.Generation {
	newest := &generation.Generation{}
	for _, g := range slices.Backward(all) {
		if g.record.Generation == 0 {
			break
		}
		loaded, whole := w.load(ctx, g)
		if whole {
			return loaded
		}
		if newest.Empty() {
			newest = loaded
		}
	}
	return newest
}

// load reads the files of a generation and reports whether it could read all of
// them. Unreadable files are missing from the content, so the next publish differs.
func (w *Writer) load(ctx context.Context, g found) (loaded *generation.Generation, whole bool) {
	whole = true
	content := generation.Content{Complete: g.record.Complete, Secrets: map[string]generation.Files{}}
	for name, s := range g.record.Secrets {
		files, ok := w.loadFiles(ctx, g, name, s.Files)
		files.UID, files.ResourceVersion = s.UID, s.ResourceVersion
		content.Secrets[name] = files
		whole = whole && ok
	}
	if len(g.record.Unowned) > 0 {
		files, ok := w.loadFiles(ctx, g, "", g.record.Unowned)
		content.Secrets[""] = files
		whole = whole && ok
	}
	return generation.New(g.dir, g.record, content), whole
}

// loadFiles reads the files of one Secret.
func (w *Writer) loadFiles(ctx context.Context, g found, name string, records map[string]generation.PathRecord) (files generation.Files, whole bool) {
	files = generation.Files{Values: map[string]secret.Value{}, Modes: map[string]fs.FileMode{}}
	for file, rec := range records {
		if ctx.Err() != nil {
			return files, false
		}
		if rec.Mode != 0 {
			files.Modes[file] = rec.Mode
		}
		p := path.Join(g.dir, g.record.Layout.Path(name, file))
		data, err := w.vol.ReadFile(p)
		if err != nil {
			w.log.Warn("could not read a file of a generation", "path", p, "err", err)
			continue
		}
		files.Values[file] = data
	}
	return files, len(files.Values) == len(records)
}

// rebuild creates a record for the target of ..data, from its files. Its number is
// new: no target counts as notified of it. It is not complete until the API server
// confirms it. In the flat layout the files belong to unknown Secrets.
func (w *Writer) rebuild(ctx context.Context, dir string) *generation.Generation {
	for _, number := range w.notified.Targets { // also 1: the volume is not empty
		w.used(number)
	}
	w.last++
	rec := generation.Record{
		Format: generation.Format, Generation: w.last, Since: w.last, Layout: w.opts.Layout, FileMode: w.opts.FileMode,
		Secrets: map[string]generation.SecretRecord{}, Unowned: map[string]generation.PathRecord{},
	}
	since := generation.PathRecord{Added: w.last, Changed: w.last}
	for _, p := range w.listFiles(dir) {
		file := strings.TrimPrefix(p, dir+"/")
		name, below, _ := strings.Cut(file, "/")
		switch {
		case rec.Layout == generation.Flat && generation.ValidPath(file):
			rec.Unowned[file] = since
		case rec.Layout == generation.Nested && generation.ValidPath(name) && generation.ValidPath(below):
			if rec.Secrets[name].Files == nil {
				rec.Secrets[name] = generation.SecretRecord{Files: map[string]generation.PathRecord{}}
			}
			rec.Secrets[name].Files[below] = since
		}
	}
	w.log.Warn("could not read the record of the current generation, rebuilt it and notifying all targets again", "generation", w.last)
	rebuilt, _ := w.load(ctx, found{dir, rec})
	return rebuilt
}

// listFiles returns the paths of the regular files below a directory.
func (w *Writer) listFiles(dir string) (all []string) {
	entries, _ := w.vol.ReadDir(dir)
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if e.IsDir() {
			all = append(all, w.listFiles(p)...)
		} else if e.Type().IsRegular() {
			all = append(all, p)
		}
	}
	return all
}

// partialSecrets returns the Secrets of g with files that could not be read.
func partialSecrets(g *generation.Generation) map[string]generation.Files {
	partial := map[string]generation.Files{}
	for name, files := range g.Content.Secrets {
		if len(files.Values) < len(g.Record.Secrets[name].Files) {
			partial[name] = files
		}
	}
	return partial
}

// addUnread adds files to content if they could not be read at startup and their
// Secrets are still as they were found then. If a file exists and still cannot be read,
// it returns an error: the next generation would lack the file.
func (w *Writer) addUnread(cur *generation.Generation, content Content) (Content, error) {
	content.Secrets = maps.Clone(content.Secrets)
	for name, rec := range cur.Record.Secrets {
		files, ok := content.Secrets[name]
		found, partial := w.partial[name]
		if !ok || !partial || files.ResourceVersion != rec.ResourceVersion || !found.Equal(files) {
			continue
		}
		files.Values = maps.Clone(files.Values)
		for file := range rec.Files {
			if _, ok := files.Values[file]; ok {
				continue
			}
			if value, ok := cur.Content.Secrets[name].Values[file]; ok { // a reconciliation has read it
				files.Values[file] = value
				continue
			}
			p := path.Join(cur.Dir, cur.Record.Layout.Path(name, file))
			if info, err := w.vol.Lstat(p); volume.Missing(err) || err == nil && !info.Mode.IsRegular() {
				continue
			}
			data, err := w.vol.ReadFile(p)
			if err != nil {
				return content, fmt.Errorf("keep the files in %q: %w", w.opts.Dir, err)
			}
			files.Values[file] = data
		}
		content.Secrets[name] = files
	}
	return content, nil
}
