package writer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// reconcile makes the volume match the current generation and returns the entries that differed:
//
//  1. If files are damaged, it publishes the same generation in a new directory. It never changes a file in place.
//  2. It restores missing and changed entries outside of the generation's directory, ..data last: apps that follow it
//     must find everything else.
//  3. It removes its own entries, except entries of the current generation and of old generations in their grace
//     period. If step 2 failed, ..data may lead to a removable entry, so nothing is removed.
//
// A repair is a reconciliation that finds a difference.
func (w *Writer) reconcile(ctx context.Context) (changed []generation.Entry, err error) {
	cur := w.current.Load()
	damaged := w.damage(cur, cur.Inside)
	if len(damaged) > 0 { // 1
		content, err := w.vol.AddUnread(cur, cur.Content)
		if err != nil {
			w.reconcileOutside(ctx)
			return nil, err
		}
		if err := w.replace(ctx, cur.Record, content); err != nil {
			return nil, err
		}
	}
	if changed, err = w.restoreOutside(); err != nil { // 2
		return nil, err
	}
	w.removeStale(ctx) // 3
	if changed = append(damaged, changed...); len(changed) > 0 {
		w.opts.Logger.Info("repaired changes by another process", "generation", cur.Record.Generation,
			"paths", len(changed), "path", changed[0].Path)
		w.opts.Repaired()
	}
	return changed, nil
}

// reconcileOutside makes steps 2 and 3 of reconcile. After a failure, it schedules a reconciliation. It
// reads no file of the generation.
func (w *Writer) reconcileOutside(ctx context.Context) {
	_, err := w.restoreOutside() // 2
	w.retryLater("could not restore links, will retry", ".", err)
	if err == nil {
		w.removeStale(ctx) // 3
	}
}

// restoreOutside makes step 2 of reconcile, and watches all directories.
func (w *Writer) restoreOutside() (changed []generation.Entry, err error) {
	cur := w.current.Load()
	changed, err = w.restore(slices.Concat(cur.Outside, w.records(cur))...)
	w.watchDirs(append(generation.Dirs(cur.Entries), ".")...)
	if err != nil {
		return nil, w.vol.Explain(fmt.Errorf("repair %q: %w", w.opts.Dir, err))
	}
	return changed, nil
}

// records returns the records and the link of a generation, in the order of their
// restoration. Before the first generation the volume may belong to someone else, so
// there is no record of notifications unless a target was notified in advance.
func (w *Writer) records(cur *generation.Generation) []generation.Entry {
	notified := w.notified.Entry(w.opts.FileMode)
	switch {
	case !cur.Empty():
		return []generation.Entry{cur.RecordFile, notified, cur.Link()}
	case len(w.notified.Targets) > 0 || w.notified.Lost:
		return []generation.Entry{notified}
	}
	return nil
}

// restore makes the volume contain entries outside of a generation's directory, whatever is in their places. It returns
// the restored entries. They are on disk when restore or a later call of syncChanged returns nil.
func (w *Writer) restore(entries ...generation.Entry) (changed []generation.Entry, err error) {
	var errs []error
	for _, e := range entries { // parents first
		differs, err := w.differs(e)
		if differs {
			changed = append(changed, e)
			w.uncertain.unsynced[path.Dir(e.Path)] = true
			if e.Mode.IsDir() {
				w.uncertain.unsynced[e.Path] = true
			}
			err = w.makeRoom(func() error { return w.vol.Restore(e) })
		}
		if err == nil && e.Path == generation.DataLink {
			w.uncertain.unreachable.Store(false)
		}
		errs = append(errs, err)
	}
	return changed, errors.Join(append(errs, w.syncChanged())...)
}

// removeStale removes unnecessary entries of this program, up to volume.MaxRemoved of
// them. The next sweep retries a failed removal. removeStale warns about foreign entries directly in the volume.
func (w *Writer) removeStale(ctx context.Context) {
	cur, more := w.current.Load(), volume.Limit(ctx)
	for _, dir := range append(generation.Dirs(cur.Outside), ".") {
		for name := range w.unexpected(cur, dir) {
			w.events.forget(name) // fsnotify would report an error
			foreign, err := w.vol.RemoveOwn(name, more)
			switch {
			case ctx.Err() != nil, errors.Is(err, volume.ErrMoreEntries):
				return
			case err != nil:
				w.warnOnce("could not remove a leftover, will retry", name, "err", err)
			case foreign:
				w.warnOnce(foreignEntry, name)
			}
		}
	}
}

// expected returns the entry that the volume must contain under this name, except entries of old generations.
func (w *Writer) expected(cur *generation.Generation, name string) (generation.Entry, bool) {
	if e, ok := cur.Find(name); ok {
		return e, true
	}
	if name != generation.NotifiedFile && name != generation.DataLink && name != cur.RecordFile.Path {
		return generation.Entry{}, false // a foreign entry or a leftover; records would encode all targets
	}
	for _, e := range w.records(cur) {
		if e.Path == name {
			return e, true
		}
	}
	return generation.Entry{}, false
}

// unexpected returns the entries of a directory, except entries of the current
// generation and of old generations in their grace period.
func (w *Writer) unexpected(cur *generation.Generation, dir string) iter.Seq[string] {
	return func(yield func(name string) bool) {
		for e, err := range w.vol.ReadDir(dir) {
			switch {
			case volume.Missing(err): // a difference of its own
				return
			case err != nil:
				w.retryLater("could not list a directory, will retry", dir, err)
				return
			}
			name := path.Join(dir, e.Name())
			_, expected := w.expected(cur, name)
			old := func(r retired) bool { return name == r.dir || name == generation.RecordName(r.dir) }
			if !expected && name != generation.LockFile && !slices.ContainsFunc(w.old, old) && !yield(name) {
				return
			}
		}
	}
}

// damage compares entries of the current generation with the volume. It returns the entries that differ, and for each
// directory inside the generation's an unexpected entry, but none if the start did not read every file.
func (w *Writer) damage(cur *generation.Generation, entries []generation.Entry) (damaged []generation.Entry) {
	for _, e := range entries {
		switch {
		case w.isDifferent(e):
			damaged = append(damaged, e)
		case e.Mode.IsDir() && generation.Top(e.Path) == cur.Dir && !cur.Partial:
			for name := range w.unexpected(cur, e.Path) {
				damaged = append(damaged, generation.Entry{Path: name})
				break
			}
		}
	}
	return damaged
}
