package writer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

const (
	sweepPeriod = time.Minute     // to compare everything, up to 6,000 entries
	sweepStep   = 100             // entries compared at a time
	repairEvery = 2 * time.Second // while another process keeps undoing the repairs
	repairBurst = 10
	retryAfter  = 5 * time.Second
)

// Run repairs changes by other processes and removes old generations until ctx ends.
// It never fails: it retries after every error.
func (w *Writer) Run(ctx context.Context) error {
	w.locked(func() { w.removeLeftovers(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.events.Ready:
			w.locked(func() { w.checkEvents(ctx) })
		case <-w.timer.C:
			w.locked(func() { w.attend(ctx) })
		}
	}
}

// locked calls f with the Writer's lock, and then does what became due.
func (w *Writer) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.collect()
}

// removeLeftovers removes the entries of an earlier process, unless a retry will.
func (w *Writer) removeLeftovers(ctx context.Context) {
	w.nextSweep = w.now().Add(w.sweepInterval())
	if w.uncertain.retryAt.IsZero() {
		w.reconcileOrRetry(ctx)
	}
}

// Recheck makes Run compare the volume immediately.
func (w *Writer) Recheck() { w.locked(func() { w.uncertain.retryAt = w.now() }) }

// attend runs at due. After a grace period it restarts the sweep: another process may
// have changed the current generation before inotify watched it.
func (w *Writer) attend(ctx context.Context) {
	if w.mustWait() {
		return
	}
	if !w.uncertain.retryAt.IsZero() {
		w.repairOrRetry(ctx)
		return
	}
	if w.now().Before(w.nextSweep) {
		w.swept = 0
	}
	w.sweep(ctx)
}

// mustWait reports whether the next comparison must wait for a retry.
func (w *Writer) mustWait() bool { return w.now().Before(w.uncertain.retryAt) }

// repairOrRetry compares everything and repairs the differences. It retries a failed
// repair, and waits after too many repairs. Events from before its start are ignored.
func (w *Writer) repairOrRetry(ctx context.Context) {
	w.uncertain.retryAt = time.Time{}
	w.events.Take()
	w.watch()
	changed, err := w.repair(ctx)
	now := w.now()
	switch {
	case err != nil:
		w.retryLater("could not repair the volume, will retry", ".", err)
	case len(changed) > 0 && !w.limit.AllowN(now, 1):
		w.retryLater("another process keeps changing the files, repairing less often; "+
			"look for a container that mounts the volume without readOnly",
			changed[0].Path, errors.New("too many repairs"))
	case w.uncertain.retryAt.IsZero() && w.limit.TokensAt(now) > repairBurst/2:
		maps.DeleteFunc(w.warned, func(_ string, keep bool) bool { return !keep })
	}
}

// sweepInterval returns the time between two steps of the sweep, at least a second.
func (w *Writer) sweepInterval() time.Duration {
	cur := w.current.Load()
	steps := len(cur.Entries)/sweepStep + 1
	return max(w.sweepPeriod/time.Duration(steps), min(time.Second, w.sweepPeriod))
}

// sweep compares the next entries with the current generation and repairs the volume
// if any entry differs. Its steps spread the reads of a large volume over time.
func (w *Writer) sweep(ctx context.Context) {
	w.nextSweep = w.now().Add(w.sweepInterval())
	cur := w.current.Load()
	if w.swept >= len(cur.Entries) {
		w.swept = 0
	}
	entries := cur.Entries[w.swept:min(w.swept+sweepStep, len(cur.Entries))]
	dirs := generation.Dirs(entries)
	if w.swept == 0 {
		entries, dirs = slices.Concat(entries, w.records(cur)), append(dirs, ".")
	}
	w.swept += sweepStep
	if len(w.damage(cur, entries)) > 0 {
		w.repairOrRetry(ctx)
		return
	}
	for _, dir := range dirs {
		if generation.Top(dir) != cur.Dir {
			w.removeStale(cur, dir)
		}
	}
}
