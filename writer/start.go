package writer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// start recovers from the state of the volume after an earlier process. Files visible to apps stay as they are.
//
//  1. It reads the record of notifications.
//  2. It finds the current generation and reads its files. The values are trusted until a publish confirms them.
//  3. Other generations with a number up to the current one may have been published before it. Within the limits of the
//     grace period, they get a new one. The rest is superfluous, or never was published.
//  4. It restores missing links. Run removes leftovers in the first step of its sweep: however many there are, the next
//     publish need not wait for all of them.
//
// An unreadable volume is an error: without knowing ..data, the files of apps would pass for leftovers.
func (w *Writer) start(ctx context.Context) error {
	var notifiedErr error
	w.notified, notifiedErr = w.vol.ReadNotified() // 1
	target, all, err := w.vol.Generations()
	notifiedErr = cmp.Or(notifiedErr, w.useNotified(all))
	if volume.NoResource(notifiedErr) {
		err = notifiedErr
	}
	cur, findErr := w.findCurrent(ctx, target, all) // 2
	if err := cmp.Or(ctx.Err(), err, findErr); err != nil {
		return fmt.Errorf("%w: find the current generation in %q: %w", volume.ErrUnusable, w.opts.Dir, err)
	}
	w.current.Store(cur)
	w.keepOld(all) // 3
	if notifiedErr != nil && (!cur.Empty() || !errors.Is(notifiedErr, fs.ErrNotExist)) {
		w.notified.Lost = true
		w.opts.Logger.Warn("could not read the record of notifications, notifying all targets again",
			"path", generation.NotifiedFile, "err", notifiedErr)
	}
	w.notified.Volume = cmp.Or(w.notified.Volume, rand.Text())
	_, err = w.restoreOutside() // 4
	w.retryLater("could not restore links, will retry", ".", err)
	w.nextSweep = w.now()
	w.arm()
	return nil
}

// keepOld makes step 3 of start.
func (w *Writer) keepOld(all []generation.Found) {
	cur := w.current.Load()
	limit := max(cur.DiskSize(), minBytes)
	for _, f := range slices.Backward(all) {
		if f.Dir == cur.Dir || f.Number > cur.Record.Generation {
			continue
		}
		size := w.vol.DiskSize(f.Dir, limit)
		if limit -= size; len(w.old) == maxOld || len(w.old) > 0 && limit < 0 {
			break
		}
		w.old = append(w.old, retired{dir: f.Dir, at: w.now(), size: size})
	}
	slices.Reverse(w.old)
}

// maxAhead limits the distance of a notification from the highest generation: a power failure may lose generations.
const maxAhead = 1 << 20

// useNotified prevents the numbers of notifications from being used again, except 1: in
// an empty volume, targets count as notified of it in advance. If a number belongs to no
// plausible generation, useNotified drops all records and returns an error.
func (w *Writer) useNotified(all []generation.Found) error {
	highest := uint64(maxAhead)
	for _, f := range all {
		highest = max(highest, f.Number+maxAhead)
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

// findCurrent returns the target of ..data, whose record it rebuilds if it is unreadable. Without a target, it returns
// the newest generation with all its files, or else the newest generation: it contains some files, and the API server
// may be unavailable.
func (w *Writer) findCurrent(
	ctx context.Context, at generation.Found, all []generation.Found,
) (*generation.Generation, error) {
	if at.Number > 0 {
		w.used(at.Number)
		if cur, err := w.vol.Load(ctx, at, w.warnOnce); err != nil || !cur.Empty() {
			return cur, err
		}
	}
	for _, f := range all { // apps may have read any of them
		w.used(f.Number)
	}
	if at.Dir != "" {
		return w.rebuild(ctx, at.Dir)
	}
	newest := &generation.Generation{}
	for i := len(all) - 1; i >= 0 && (newest.Empty() || newest.Partial); i-- {
		loaded, err := w.vol.Load(ctx, all[i], w.warnOnce)
		if err != nil {
			return nil, err
		}
		if newest.Empty() || !loaded.Empty() && !loaded.Partial {
			newest = loaded
		}
	}
	if !newest.Empty() {
		w.uncertain.unreachable.Store(true)
		w.opts.Logger.Warn("..data points to no generation, restoring the newest one",
			"generation", newest.Record.Generation, "path", newest.Dir)
	}
	return newest, nil
}

// rebuild creates a record for the target of ..data from its files, with a new number:
// no target counts as notified of it. The API server must confirm its completeness.
func (w *Writer) rebuild(ctx context.Context, dir string) (*generation.Generation, error) {
	for _, record := range w.notified.Targets { // also 1: the volume is not empty
		w.used(record.Notified)
	}
	w.last++
	w.opts.Logger.Warn("could not read the record of the current generation, rebuilt it and notifying all targets again",
		"generation", w.last)
	rec := generation.Record{Generation: w.last, Layout: w.opts.Layout, FileMode: w.opts.FileMode}
	rec, err := w.vol.Rebuild(dir, rec)
	if err != nil {
		return nil, err
	}
	return w.vol.LoadRecord(ctx, dir, rec, w.warnOnce)
}
