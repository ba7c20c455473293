package writer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/writer/plan"
)

const (
	sweepEvery  = time.Minute
	repairEvery = 2 * time.Second // on and on, when something undoes the repairs
	repairBurst = 10
	healAgain   = 5 * time.Second // after a repair that failed
	maxLogged   = 10              // of what one repair puts back
)

// Run puts back what others change, and ends old generations' grace, until ctx
// is done. It never fails: what does not go through is tried again.
func (w *Writer) Run(ctx context.Context) error {
	sweep, stop := w.opts.sweep()
	defer stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var healDue time.Time // a repair that was put off: nothing is compared before
	for {
		if healDue.IsZero() && w.unfinished() {
			healDue = w.opts.now().Add(healAgain)
		}
		w.arm(timer, healDue)
		compare := false
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.inotify.Events():
			compare = w.concerns(w.inotify.Event(e))
		case <-w.inotify.Lost():
			compare = true
		case <-sweep:
			compare = true
		case <-w.recheck:
			compare, healDue = true, time.Time{}
		case <-w.poke:
		case <-timer.C:
			w.endGrace()
			compare = !healDue.IsZero()
		}
		if compare && !w.opts.now().Before(healDue) {
			healDue = w.heal()
		}
	}
}

// Recheck has Run compare the volume at once. It does not block.
func (w *Writer) Recheck() { poke(w.recheck) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// unfinished reports whether something did not go through after a swap or at start.
func (w *Writer) unfinished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pending
}

// arm sets the timer for whichever comes first.
func (w *Writer) arm(timer *time.Timer, healDue time.Time) {
	wait, ok := w.nextExpiry()
	if !healDue.IsZero() {
		until := max(healDue.Sub(w.opts.now()), 0)
		if !ok || until < wait {
			wait, ok = until, true
		}
	}
	if !ok {
		timer.Stop()
		return
	}
	timer.Reset(wait)
}

// heal compares all that is ours with what it should be and puts back what
// differs. It gives the time to try again: after a failure, or where something
// undoes the repairs faster than they are allowed.
func (w *Writer) heal() (again time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending {
		w.tidy()
	}
	w.watch()
	if w.current.Load() == nil {
		return time.Time{}
	}
	now := w.opts.now()
	if w.limit.TokensAt(now) > repairBurst/2 {
		w.contended = false
	}
	if w.limit.TokensAt(now) < 1 {
		return w.putOff(now)
	}
	repaired, err := w.repair()
	if err != nil {
		w.pending = true // a publish must not pass over what is not there
		w.log.Warn("could not put back what someone changed, will try again", "err", err)
		return now.Add(healAgain)
	}
	if repaired {
		w.limit.AllowN(now, 1)
	}
	return time.Time{}
}

// putOff gives the time of the next repair when there were too many.
func (w *Writer) putOff(now time.Time) time.Time {
	bad := w.mismatches(w.current.Load())
	if len(bad) == 0 {
		return time.Time{}
	}
	if !w.contended {
		w.contended = true
		w.log.Warn("something keeps changing the files: they are put back less often now; look for a container that mounts the volume without readOnly", "path", bad[0].Path)
	}
	missing := (1 - w.limit.TokensAt(now)) / float64(w.limit.Limit())
	return now.Add(time.Duration(missing * float64(time.Second)))
}

// repair compares, and puts back what differs, from the inside out.
func (w *Writer) repair() (repaired bool, err error) {
	cur := w.current.Load()
	bad := w.mismatches(cur)
	if len(bad) == 0 {
		return false, nil
	}
	for _, e := range bad[:min(len(bad), maxLogged)] {
		w.log.Info("putting back what someone changed", "generation", cur.record.Generation, "path", e.Path)
	}
	defer w.watch()
	if slices.ContainsFunc(bad, func(e plan.Entry) bool { return plan.Top(e.Path) == cur.Dir }) {
		// The files go into a new directory of the same generation.
		set := Set{Complete: cur.set.Complete, Secrets: maps.Clone(cur.set.Secrets)}
		if err := w.readAgain(cur, set); err != nil {
			return false, w.explain(err)
		}
		if err := w.replace(cur, cur.record, set, cur.restored); err != nil {
			return false, err
		}
		cur = w.current.Load()
		bad = w.mismatched(w.around(cur))
	}
	if err := errors.Join(w.put(cur.Plan, bad), w.vol.SyncDir(".")); err != nil {
		return false, w.explain(fmt.Errorf("repair %q: %w", w.opts.Dir, err))
	}
	w.opts.Repaired()
	return true, nil
}
