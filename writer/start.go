package writer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"

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
	var notifiedErr error
	w.notified, notifiedErr = readNotified(w.vol) // 1
	for _, number := range w.notified.Targets {
		// A number of which a target was notified is never used again. The exception
		// is 1: in an empty volume, targets count as notified of it in advance.
		if number > 1 {
			w.used(number)
		}
	}
	all, err := w.findGenerations()
	var cur *generation.Generation
	if err == nil {
		cur, err = w.findCurrent(ctx, all) // 2
	}
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return fmt.Errorf("%w: find the current generation in %q: %w", ErrUnusable, w.opts.Dir, err)
	}
	w.current.Store(cur)
	for _, g := range all { // 3
		if n := g.Record.Generation; g.Dir != cur.Dir && n != 0 && n <= cur.Record.Generation {
			w.old = append(w.old, retired{dir: g.Dir, at: w.now(), size: w.diskSize(g)})
		}
	}
	if notifiedErr != nil && (!cur.Empty() || !errors.Is(notifiedErr, fs.ErrNotExist)) {
		w.notified.Lost = true
		w.log.Warn("could not read the record of notifications, notifying all targets again", "path", generation.NotifiedFile, "err", notifiedErr)
	}
	w.notified.Volume = cmp.Or(w.notified.Volume, rand.Text())
	_, err = w.restore(ctx, slices.Concat(cur.Outside, w.records(cur))...) // 4
	w.retryLater("could not restore links, will retry", ".", err)
	return nil
}

// used prevents a number from being used again.
func (w *Writer) used(number uint64) { w.last = max(w.last, number) }

// nextNumber returns the number of the next generation. A forged record may have used
// up all numbers. They then start again, and all targets are pending.
func (w *Writer) nextNumber() uint64 {
	if w.last >= generation.MaxGeneration {
		w.last, w.notified = 0, w.notified.Reset()
	}
	return w.last + 1
}

// findGenerations returns the directories and records of all generations in the
// volume, lowest number first. The number is 0 if the record cannot be read.
func (w *Writer) findGenerations() (all []*generation.Generation, err error) {
	entries, err := w.vol.ReadDir(".")
	for _, e := range entries {
		if !generation.GenerationName.MatchString(e.Name()) || !e.IsDir() {
			continue
		}
		rec, err := readRecord(w.vol, e.Name())
		if err != nil {
			w.log.Warn("could not read the record of a generation", "path", e.Name(), "err", err)
		}
		all = append(all, &generation.Generation{Dir: e.Name(), Record: rec})
	}
	slices.SortFunc(all, func(a, b *generation.Generation) int {
		return cmp.Or(cmp.Compare(a.Record.Generation, b.Record.Generation), cmp.Compare(a.Dir, b.Dir))
	})
	return all, err
}

// diskSize returns the space that the files of a generation occupy.
func (w *Writer) diskSize(g *generation.Generation) (bytes int64) {
	for name := range g.Record.Paths() {
		info, _ := w.vol.Lstat(path.Join(g.Dir, name))
		bytes += generation.DiskSize(info.Size)
	}
	return bytes
}

// findCurrent returns the target of ..data. If ..data points to no generation,
// findCurrent returns the newest generation with all its files, or else the newest
// generation: it contains some files, and the API server may be unavailable. Apps may
// have read any generation, unless ..data points to a generation with a lower number.
func (w *Writer) findCurrent(ctx context.Context, all []*generation.Generation) (*generation.Generation, error) {
	target, err := w.vol.Readlink(generation.DataLink)
	if err != nil && !volume.NotALink(err) {
		return nil, err
	}
	i := slices.IndexFunc(all, func(g *generation.Generation) bool { return g.Dir == target })
	if i >= 0 && !all[i].Empty() {
		w.used(all[i].Record.Generation)
		return w.load(ctx, all[i])
	}
	for _, g := range all {
		w.used(g.Record.Generation)
	}
	if i >= 0 {
		return w.rebuild(ctx, target)
	}
	newest := &generation.Generation{}
	for _, g := range slices.Backward(all) {
		if g.Empty() {
			break
		}
		loaded, err := w.load(ctx, g)
		if err != nil {
			return nil, err
		}
		if newest.Empty() || !loaded.Partial {
			newest = loaded
		}
		if !loaded.Partial {
			break
		}
	}
	if !newest.Empty() {
		w.uncertain.unreachable.Store(true)
		w.log.Warn("..data points to no generation, restoring the newest one", "generation", newest.Record.Generation, "path", target)
	}
	return newest, nil
}

// load returns a generation with its files. Unreadable files are missing from the
// content, so the next publish differs.
func (w *Writer) load(ctx context.Context, g *generation.Generation) (_ *generation.Generation, err error) {
	content := generation.Content{Complete: g.Record.Complete, Secrets: map[string]generation.Files{}}
	for name, s := range g.Record.AllSecrets() {
		files := generation.Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Values: map[string]secret.Value{}, Modes: map[string]fs.FileMode{}}
		for file, rec := range s.Files {
			if rec.Mode != 0 {
				files.Modes[file] = rec.Mode
			}
			p := path.Join(g.Dir, g.Record.Layout.Path(name, file))
			data, err := w.readFile(p)
			switch err := cmp.Or(ctx.Err(), err); {
			case err == nil:
				files.Values[file] = data
			case ctx.Err() != nil, volume.Unknown(err) && !errors.Is(err, syscall.EIO):
				return nil, err
			default:
				w.log.Warn("could not read a file of a generation", "path", p, "err", err)
			}
		}
		content.Secrets[name] = files
	}
	return generation.New(g.Dir, g.Record, content), nil
}

// readFile reads a file. As in a comparison, it fails after maxMisreads failures of
// the disk in a row: the next publish may lack the file.
func (w *Writer) readFile(name string) (data []byte, err error) {
	for range maxMisreads {
		if data, err = w.vol.ReadFile(name); !errors.Is(err, syscall.EIO) {
			break
		}
	}
	return data, err
}

// rebuild creates a record for the target of ..data, from its files. Its number is
// new: no target counts as notified of it. It is not complete until the API server
// confirms it.
func (w *Writer) rebuild(ctx context.Context, dir string) (*generation.Generation, error) {
	for _, number := range w.notified.Targets { // also 1: the volume is not empty
		w.used(number)
	}
	w.last++
	w.log.Warn("could not read the record of the current generation, rebuilt it and notifying all targets again", "generation", w.last)
	rec := generation.Rebuild(w.vol.Files(dir), w.opts.Layout, w.opts.FileMode, w.last)
	return w.load(ctx, &generation.Generation{Dir: dir, Record: rec})
}
