package writer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

const (
	sweepEvery  = time.Minute
	repairEvery = 2 * time.Second // on and on, when something undoes the repairs
	repairBurst = 10
	tryAgain    = 5 * time.Second // after something failed, or was repaired too often
)

// Run puts back what others change, and ends old generations' grace, until ctx
// is done. It never fails: what does not go through is tried again.
func (w *Writer) Run(ctx context.Context) error {
	sweep := time.NewTicker(w.sweep)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.inotify.Events():
			if !w.concerns(e) {
				continue
			}
		case <-sweep.C:
		case <-w.poke:
		case <-w.timer.C:
		}
		w.attend()
	}
}

// Recheck has Run compare the volume at once, also where that was put off.
func (w *Writer) Recheck() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again = time.Time{}
	w.compareSoon()
}

// compareSoon does not block.
func (w *Writer) compareSoon() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// attend compares, unless that was put off, and ends graces.
func (w *Writer) attend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opts.now().Before(w.again) {
		w.heal()
	}
	w.collect()
	w.arm()
}

// due is when there is something to do: zero for never.
func (w *Writer) due() time.Time {
	if len(w.old) == 0 || w.unsynced { // an old one stays until the swap is on disk
		return w.again
	}
	end := w.old[0].at.Add(grace)
	if w.again.IsZero() || end.Before(w.again) {
		return end
	}
	return w.again
}

// arm sets the timer that wakes Run.
func (w *Writer) arm() {
	due := w.due()
	if due.IsZero() {
		w.timer.Stop()
		return
	}
	w.timer.Reset(due.Sub(w.opts.now()))
}

// heal compares all that is ours with what it should be and puts back what
// differs. What fails is tried again, and what was repaired too often is left for
// a while: something undoes the repairs.
func (w *Writer) heal() {
	w.again = time.Time{}
	w.watch()
	changed, err := w.repair()
	now := w.opts.now()
	switch {
	case err != nil:
		w.retryLater("could not put back what someone changed, will try again", ".", err)
	case len(changed) > 0 && !w.limit.AllowN(now, 1):
		w.retryLater("something keeps changing the files: they are put back less often now; look for a container that mounts the volume without readOnly", changed[0].Path, errors.New("repaired too often"))
	case w.again.IsZero() && w.limit.TokensAt(now) > repairBurst/2:
		maps.DeleteFunc(w.warned, func(_ string, lasts bool) bool { return !lasts })
	}
}

// repair puts right what is not as planned, from the inside out, and returns it.
func (w *Writer) repair() (changed []generation.Entry, err error) {
	cur := w.current.Load()
	changed = w.changedInside(cur)
	if len(changed) > 0 {
		// The files go into a new directory of the same generation.
		set := Set{Complete: cur.Set.Complete, Secrets: maps.Clone(cur.Set.Secrets)}
		if err := w.readAgain(cur, set); err != nil {
			return nil, w.explain(err)
		}
		if err := w.replace(cur, cur.Record, set); err != nil {
			return nil, err
		}
	}
	outside, err := w.tidy()
	if err != nil {
		return nil, fmt.Errorf("repair %q: %w", w.opts.Dir, err)
	}
	changed = append(changed, outside...)
	if len(changed) > 0 {
		w.log.Info("put back what someone changed", "generation", cur.Record.Generation, "paths", len(changed), "path", changed[0].Path)
		w.opts.Repaired()
	}
	return changed, nil
}
