package writer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// reconcile makes the volume match the current generation and returns the changed
// entries:
//
//  1. If files are damaged, it publishes the same generation in a new directory. It
//     never changes a file in place.
//  2. It restores missing and changed entries outside of the generation's
//     directory, ..data last: apps must find everything else when they follow it.
//  3. It removes its own entries, except entries of the current generation and of
//     old generations in their grace period. If step 2 failed, ..data may lead to a
//     removable entry, so nothing is removed.
//
// The start, a failed publish and step 11 of a publish pass no damaged entries: they
// did not read the files. repair compares the files and passes the differences.
func (w *Writer) reconcile(ctx context.Context, damaged []generation.Entry) (changed []generation.Entry, err error) {
	if len(damaged) > 0 { // 1
		if err := w.republish(ctx); err != nil {
			return nil, err
		}
	}
	cur := w.current.Load()
	changed, err = w.restore(ctx, slices.Concat(cur.Outside, w.records(cur))...) // 2
	if err != nil {
		return nil, w.explain(fmt.Errorf("repair %q: %w", w.opts.Dir, err))
	}
	for _, dir := range append(generation.Dirs(cur.Outside), ".") { // 3
		w.removeStale(cur, dir)
	}
	w.watch()
	return append(damaged, changed...), nil
}

func (w *Writer) reconcileOrRetry(ctx context.Context) {
	_, err := w.reconcile(ctx, nil)
	w.retryLater("could not restore links, will retry", ".", err)
}

// republish writes the files of the current generation to a new directory.
func (w *Writer) republish(ctx context.Context) error {
	cur := w.current.Load()
	content, err := w.addUnread(cur, cur.Content)
	if err != nil {
		return w.explain(err)
	}
	return w.replace(ctx, cur, cur.Record, content)
}

// records returns the records and the link of a generation, in the order of their
// restoration.
func (w *Writer) records(cur *generation.Generation) []generation.Entry {
	notified := w.notified.Entry(w.opts.FileMode)
	switch {
	case !cur.Empty():
		return []generation.Entry{cur.RecordFile, notified, cur.Link()}
	case w.hasNotified(cur):
		return []generation.Entry{notified}
	}
	return nil
}

// hasNotified reports whether the volume contains the record of notifications. Before
// the first generation it does not, unless a target was notified in advance: the
// volume may belong to someone else.
func (w *Writer) hasNotified(cur *generation.Generation) bool {
	return !cur.Empty() || len(w.notified.Targets) > 0 || w.notified.Lost
}

// restore makes the volume contain entries outside of a generation's directory,
// whatever is in their places. It returns the restored entries. They are on disk
// when restore returns nil.
func (w *Writer) restore(ctx context.Context, entries ...generation.Entry) (changed []generation.Entry, err error) {
	var errs []error
	dirs := map[string]bool{}
	for _, e := range entries { // parents first
		if ctx.Err() != nil {
			return changed, ctx.Err()
		}
		differs, err := w.differs(e)
		if differs {
			changed = append(changed, e)
			dirs[path.Dir(e.Path)] = true
			if e.Mode.IsDir() {
				dirs[e.Path] = true
			}
			err = w.makeRoom(func() error { return w.vol.Restore(e) })
		}
		if err == nil && e.Path == generation.DataLink {
			w.uncertain.unreachable.Store(false)
		}
		errs = append(errs, err)
	}
	for dir := range dirs {
		errs = append(errs, w.vol.SyncDir(dir))
	}
	return changed, errors.Join(errs...)
}

// removeStale removes unnecessary entries of this program in a directory. It warns
// about foreign entries directly in the volume.
func (w *Writer) removeStale(cur *generation.Generation, dir string) {
	if w.uncertain.unreachable.Load() {
		return
	}
	names, err := w.unexpected(cur, dir)
	w.retryLater("could not list a directory, will retry", dir, err)
	for _, name := range names {
		w.events.remove(name)
		foreign, err := w.vol.RemoveOwn(name)
		w.retryLater("could not remove a leftover, will retry", name, err)
		if foreign {
			w.warnOnce(foreignEntry, name)
		}
	}
}

// unexpected returns the entries of a directory, except entries of the current
// generation and of old generations in their grace period.
func (w *Writer) unexpected(cur *generation.Generation, dir string) (names []string, err error) {
	entries, err := w.vol.ReadDir(dir)
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		_, expected := cur.Find(name)
		expected = expected || name == generation.LockFile || name == generation.NotifiedFile && w.hasNotified(cur) || slices.ContainsFunc(w.old, func(r retired) bool {
			return name == r.dir || name == generation.RecordName(r.dir)
		})
		if !expected {
			names = append(names, name)
		}
	}
	return names, err
}

// damage compares entries inside the current generation's directory with the volume.
// It returns the entries that differ, and unexpected entries. It returns an error if
// it could not compare an entry.
func (w *Writer) damage(cur *generation.Generation, inside []generation.Entry) (damaged []generation.Entry, err error) {
	for _, e := range inside {
		differs, differsErr := w.differs(e)
		if differs {
			damaged = append(damaged, e)
		}
		if differsErr == nil && !differs && e.Mode.IsDir() {
			var names []string
			names, differsErr = w.unexpected(cur, e.Path)
			for _, name := range names {
				damaged = append(damaged, generation.Entry{Path: name})
			}
		}
		if err == nil {
			err = differsErr
		}
	}
	return damaged, err
}

// repair compares everything with the current generation and reconciles the volume.
// It returns the entries that differed.
func (w *Writer) repair(ctx context.Context) (changed []generation.Entry, err error) {
	cur := w.current.Load()
	damaged, unknown := w.damage(cur, cur.Inside)
	changed, err = w.reconcile(ctx, damaged)
	if err != nil {
		return nil, err
	}
	if len(changed) > 0 {
		w.log.Info("repaired changes by another process", "generation", cur.Record.Generation, "paths", len(changed), "path", changed[0].Path)
		w.opts.Repaired()
	}
	if len(damaged) > 0 { // republish replaced the entries that could not be compared
		unknown = nil
	}
	return changed, unknown
}
