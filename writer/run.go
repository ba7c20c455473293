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
	sweep := time.NewTimer(w.sweepInterval())
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.events.wait():
			w.locked(func() { w.checkEvents(ctx) })
		case <-w.poke:
			w.locked(func() { w.repairOrRetry(ctx) })
		case <-w.timer.C:
			w.locked(func() { w.attend(ctx) })
		case <-sweep.C:
			w.locked(func() { w.sweep(ctx) })
			sweep.Reset(w.sweepInterval())
		}
	}
}

// removeLeftovers removes the entries of an earlier process. While ..data leads to
// no generation, they stay until a repair restores it.
func (w *Writer) removeLeftovers(ctx context.Context) {
	if !w.uncertain.unreachable.Load() {
		w.reconcileOrRetry(ctx)
	}
}

func (w *Writer) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.collect()
	w.arm()
}

// Recheck makes Run compare the volume immediately.
func (w *Writer) Recheck() { w.poke.Poke() }

// attend runs at due. After the grace period of a replaced generation it restarts
// the sweep: another process may have changed the current generation before inotify
// watched it.
func (w *Writer) attend(ctx context.Context) {
	if !w.uncertain.retryAt.IsZero() {
		if !w.mustWait() {
			w.repairOrRetry(ctx)
		}
		return
	}
	w.swept = 0
	w.sweep(ctx)
}

// mustWait reports whether the next comparison must wait for a retry.
func (w *Writer) mustWait() bool { return w.now().Before(w.uncertain.retryAt) }

// repairOrRetry compares everything and repairs the differences. It retries a failed
// repair. After too many repairs it waits for a while, because another process keeps
// undoing them. Events from before its start are ignored.
func (w *Writer) repairOrRetry(ctx context.Context) {
	w.uncertain.retryAt = time.Time{}
	w.events.take()
	w.watch()
	changed, err := w.repair(ctx)
	now := w.now()
	switch {
	case err != nil:
		w.retryLater("could not repair the volume, will retry", ".", err)
	case len(changed) > 0 && !w.limit.AllowN(now, 1):
		w.retryLater("another process keeps changing the files, repairing less often; look for a container that mounts the volume without readOnly",
			changed[0].Path, errors.New("too many repairs"))
	case w.uncertain.retryAt.IsZero() && w.limit.TokensAt(now) > repairBurst/2:
		maps.DeleteFunc(w.warned, func(_ string, keep bool) bool { return !keep })
	}
}

// sweepInterval returns the time between two steps of the sweep, at least a second.
func (w *Writer) sweepInterval() time.Duration {
	cur := w.current.Load()
	steps := (len(cur.Inside)+len(cur.Outside))/sweepStep + 1
	return max(w.sweepPeriod/time.Duration(steps), min(time.Second, w.sweepPeriod))
}

// sweep makes the next step of the sweep. It compares some entries with the current
// generation and repairs the volume if any entry differs. The steps spread the reads
// of a large volume over time.
func (w *Writer) sweep(ctx context.Context) {
	if w.mustWait() {
		return
	}
	cur := w.current.Load()
	inside := window(cur.Inside, w.swept)
	outside := window(cur.Outside, w.swept-len(cur.Inside))
	dirs := generation.Dirs(outside)
	if w.swept == 0 {
		dirs = append(dirs, ".")
		outside = slices.Concat(outside, w.records(cur))
	}
	if w.swept += sweepStep; w.swept >= len(cur.Inside)+len(cur.Outside) {
		w.swept = 0
	}
	damaged, err := w.damage(cur, inside)
	w.retryLater("could not compare the files, will retry", cur.Dir, err)
	if len(damaged) > 0 || slices.ContainsFunc(outside, w.isDifferent) {
		w.repairOrRetry(ctx)
		return
	}
	for _, dir := range dirs {
		w.removeStale(cur, dir)
	}
}

// window returns the entries for a step of the sweep.
func window(entries []generation.Entry, from int) []generation.Entry {
	clamp := func(i int) int { return min(max(i, 0), len(entries)) }
	return entries[clamp(from):clamp(from+sweepStep)]
}
