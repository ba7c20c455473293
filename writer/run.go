package writer

import (
	"context"
	"slices"
	"time"
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
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.events.ready:
			w.locked(func() { w.checkEvents(ctx) })
		case <-w.timer.C:
			w.locked(func() { w.compare(ctx) })
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

// Recheck makes Run compare the volume immediately.
func (w *Writer) Recheck() { w.locked(func() { w.uncertain.retryAt = w.now() }) }

// mustWait reports whether the next comparison must wait for a retry.
func (w *Writer) mustWait() bool { return w.now().Before(w.uncertain.retryAt) }

// reconcileOrRetry reconciles the volume. It retries after a failure, and waits after
// too many repairs. Events from before its start are ignored.
func (w *Writer) reconcileOrRetry(ctx context.Context) {
	w.uncertain.retryAt = time.Time{}
	w.events.take()
	changed, err := w.reconcile(ctx)
	now := w.now()
	if len(changed) > 0 {
		w.limit.ReserveN(now, 1)
	}
	tokens := w.limit.TokensAt(now)
	switch {
	case err != nil:
		w.retryLater("could not repair the volume, will retry", ".", err)
	case len(changed) > 0 && tokens < 1:
		w.scheduleRetry(time.Duration((1 - tokens) / float64(w.limit.Limit()) * float64(time.Second)))
		w.warnOnce("another process keeps changing the files, repairing less often; "+
			"look for a container that mounts the volume without readOnly", ".")
	case w.uncertain.retryAt.IsZero() && tokens > repairBurst/2:
		clear(w.warned)
	}
}

// sweepInterval returns the time between two steps of the sweep, at least a second.
func (w *Writer) sweepInterval() time.Duration {
	steps := len(w.current.Load().Entries)/sweepStep + 1
	return max(w.sweepPeriod/time.Duration(steps), min(time.Second, w.sweepPeriod))
}

// compare makes the comparison that is due: of everything after a failure, or else a
// step of the sweep. It repairs the volume if an entry differs.
func (w *Writer) compare(ctx context.Context) {
	if !w.mustWait() && (!w.uncertain.retryAt.IsZero() || w.sweep(ctx)) {
		w.reconcileOrRetry(ctx)
	}
}

// sweep makes a step of the sweep and reports whether an entry differs. The steps spread the reads of a large volume
// over time. The first step removes leftovers. A call before nextSweep, at the end of a grace period, repeats the first
// step: another process may have changed the current generation before inotify watched it.
func (w *Writer) sweep(ctx context.Context) bool {
	cur, first := w.current.Load(), 0
	if !w.now().Before(w.nextSweep) {
		if w.swept >= len(cur.Entries) {
			w.swept = 0
		}
		first = w.swept
		w.swept += sweepStep
		w.nextSweep = w.now().Add(w.sweepInterval())
	}
	entries := cur.Entries[first:min(first+sweepStep, len(cur.Entries))]
	if first == 0 {
		entries = slices.Concat(entries, w.records(cur))
		w.removeStale(ctx)
	}
	return len(w.damage(cur, entries)) > 0
}
