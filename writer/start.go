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

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// start recovers from the state of the volume after an earlier process. Files visible to apps stay as they are.
//
//  1. It reads the record of notifications.
//  2. It finds the current generation and reads its files. The values are trusted until a publish confirms them.
//  3. Other generations with a number up to the current one were published before it. They get a new grace period. The
//     rest never was published.
//  4. It restores missing links. Run removes leftovers in the first step of its sweep: however many there are, the next
//     publish need not wait for all of them.
//
// An unreadable volume is an error: without knowing ..data, the files of apps would pass for leftovers.
func (w *Writer) start(ctx context.Context) error {
	var notifiedErr error
	w.notified, notifiedErr = w.vol.ReadNotified() // 1
	all, err := w.generations()
	notifiedErr = cmp.Or(notifiedErr, w.useNotified(all))
	if volume.NoResource(notifiedErr) {
		err = notifiedErr
	}
	var cur *generation.Generation
	if err == nil {
		cur, err = w.findCurrent(ctx, all) // 2
	}
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return fmt.Errorf("%w: find the current generation in %q: %w", volume.ErrUnusable, w.opts.Dir, err)
	}
	w.current.Store(cur)
	for _, g := range all { // 3
		if n := g.Record.Generation; g.Dir != cur.Dir && n != 0 && n <= cur.Record.Generation {
			w.old = append(w.old, retired{dir: g.Dir, at: w.now(), size: w.vol.DiskSize(g.Dir, g.Record)})
		}
	}
	if notifiedErr != nil && (!cur.Empty() || !errors.Is(notifiedErr, fs.ErrNotExist)) {
		w.notified.Lost = true
		w.log.Warn("could not read the record of notifications, notifying all targets again",
			"path", generation.NotifiedFile, "err", notifiedErr)
	}
	w.notified.Volume = cmp.Or(w.notified.Volume, rand.Text())
	_, err = w.restoreOutside() // 4
	w.retryLater("could not restore links, will retry", ".", err)
	w.nextSweep = w.now()
	w.arm()
	return nil
}

const unread = "could not read a file of a generation"

// generations returns the directories and records of all generations, lowest number first. The number is 0 if the
// record is missing, because the generation was not published, or unreadable, even with EIO. It returns an error if it
// cannot list the volume, or if the process lacks a resource.
func (w *Writer) generations() (all []*generation.Generation, err error) {
	for e, err := range w.vol.ReadDir(".") {
		if err != nil {
			return nil, err
		}
		if !generation.GenerationName.MatchString(e.Name()) || !e.IsDir() {
			continue
		}
		rec, err := w.vol.ReadRecord(e.Name())
		if err == nil && rec.Generation > generation.MaxFound {
			rec, err = generation.Record{}, fmt.Errorf("read the record of %q: its number is too high", e.Name())
		}
		switch {
		case volume.NoResource(err):
			return nil, err
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			w.log.Warn(unread, "err", err)
		}
		all = append(all, &generation.Generation{Dir: e.Name(), Record: rec})
	}
	slices.SortFunc(all, func(a, b *generation.Generation) int {
		return cmp.Or(cmp.Compare(a.Record.Generation, b.Record.Generation), cmp.Compare(a.Dir, b.Dir))
	})
	return all, nil
}

// maxAhead is the distance of a plausible notification from the highest generation: a
// power failure or a repair may have lost generations.
const maxAhead = 1 << 20

// useNotified prevents the numbers of notifications from being used again, except 1: in
// an empty volume, targets count as notified of it in advance. If a number belongs to no
// plausible generation, useNotified drops all records and returns an error.
func (w *Writer) useNotified(all []*generation.Generation) error {
	highest := uint64(maxAhead)
	for _, g := range all {
		highest = max(highest, g.Record.Generation+maxAhead)
	}
	for _, record := range w.notified.Targets {
		switch n := record.Notified; {
		case n > highest:
			w.notified = generation.Notified{}
			return fmt.Errorf("its generation %d is far above the newest generation in the volume", n)
		case n > 1:
			w.used(n)
		}
	}
	return nil
}

// used prevents a number from being used again.
func (w *Writer) used(number uint64) { w.last = max(w.last, number) }

// findCurrent returns the target of ..data. If ..data points to no generation, findCurrent returns the newest
// generation with all its files, or else the newest generation: it contains some files, and the API server may be
// unavailable. Apps may have read any generation, unless ..data points to a generation with a lower number.
func (w *Writer) findCurrent(ctx context.Context, all []*generation.Generation) (*generation.Generation, error) {
	target, err := w.vol.Readlink(generation.DataLink)
	if err != nil && !volume.NotALink(err) {
		return nil, err
	}
	i := slices.IndexFunc(all, func(g *generation.Generation) bool { return g.Dir == target })
	if i >= 0 && !all[i].Empty() {
		w.used(all[i].Record.Generation)
		return w.load(ctx, target, all[i].Record)
	}
	for _, g := range all {
		w.used(g.Record.Generation)
	}
	if i >= 0 {
		return w.rebuild(ctx, target)
	}
	newest := &generation.Generation{}
	for _, g := range slices.Backward(all) {
		if g.Empty() || !newest.Empty() && !newest.Partial {
			break
		}
		loaded, err := w.load(ctx, g.Dir, g.Record)
		if err != nil {
			return nil, err
		}
		if newest.Empty() || !loaded.Partial {
			newest = loaded
		}
	}
	if !newest.Empty() {
		w.uncertain.unreachable.Store(true)
		w.log.Warn("..data points to no generation, restoring the newest one",
			"generation", newest.Record.Generation, "path", target)
	}
	return newest, nil
}

// load returns the generation in dir with its files. It returns an error if ctx ends or the process lacks a resource.
func (w *Writer) load(ctx context.Context, dir string, rec generation.Record) (*generation.Generation, error) {
	content := generation.Content{Secrets: map[string]generation.Files{}}
	var err error
	for name, s := range rec.Secrets {
		if content.Secrets[name], err = w.loadFiles(ctx, path.Join(dir, rec.Layout.Path(name, "")), s); err != nil {
			return nil, err
		}
	}
	content.Unowned, err = w.loadFiles(ctx, dir, generation.SecretRecord{Files: rec.Unowned})
	return generation.New(dir, rec, content), err
}

// loadFiles returns the files of a Secret in the directory dir.
func (w *Writer) loadFiles(ctx context.Context, dir string, s generation.SecretRecord) (generation.Files, error) {
	files := generation.Files{UID: s.UID, ResourceVersion: s.ResourceVersion,
		Values: map[string]secret.Value{}, Modes: map[string]fs.FileMode{}}
	for file, f := range s.Files {
		if f.Mode != 0 {
			files.Modes[file] = f.Mode
		}
		data, err := w.vol.ReadFile(path.Join(dir, file))
		switch {
		case ctx.Err() != nil, volume.NoResource(err):
			return files, cmp.Or(ctx.Err(), err)
		case err == nil:
			files.Values[file] = data
		default:
			files.Unread = append(files.Unread, file)
			w.log.Warn(unread, "err", err)
		}
	}
	return files, nil
}

// addUnread reads the files of content again that could not be read at the start. It returns an error if such a file
// may still exist: its Secret may be deleted, and the file the only copy.
func (w *Writer) addUnread(content generation.Content) (generation.Content, error) {
	cur := w.current.Load()
	var err error
	content.Secrets = maps.Clone(content.Secrets)
	for name, files := range content.Secrets {
		dir := path.Join(cur.Dir, cur.Record.Layout.Path(name, ""))
		if content.Secrets[name], err = w.readAgain(dir, files); err != nil {
			return content, err
		}
	}
	content.Unowned, err = w.readAgain(cur.Dir, content.Unowned)
	return content, err
}

// readAgain returns files with the unread files of a Secret in the directory dir.
func (w *Writer) readAgain(dir string, files generation.Files) (generation.Files, error) {
	for _, file := range files.Unread {
		if _, known := files.Values[file]; known {
			continue
		}
		value, err := w.vol.ReadFile(path.Join(dir, file))
		if volume.Unknown(err) {
			return files, err
		}
		if err == nil {
			files.Values = maps.Clone(files.Values)
			files.Values[file] = value
		}
	}
	return files, nil
}

// rebuild creates a record for the target of ..data from its files, with a new number:
// no target counts as notified of it. The API server must confirm its completeness.
func (w *Writer) rebuild(ctx context.Context, dir string) (*generation.Generation, error) {
	files, err := w.vol.Files(dir)
	if err != nil {
		return nil, err // its files would pass for missing
	}
	for _, record := range w.notified.Targets { // also 1: the volume is not empty
		w.used(record.Notified)
	}
	w.last++
	w.log.Warn("could not read the record of the current generation, rebuilt it and notifying all targets again",
		"generation", w.last)
	return w.load(ctx, dir, generation.Rebuild(files, w.opts.Layout, w.opts.FileMode, w.last))
}
