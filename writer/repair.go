package writer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

const (
	sweepEvery  = time.Minute
	repairEvery = 2 * time.Second // on and on, when something fights back
	repairBurst = 10
	healAgain   = 5 * time.Second // after a repair that failed
	maxNamed    = 10              // in the log, of what one repair puts back
)

// Run puts back what others change, and ends old generations' grace, until ctx
// is done. It never fails: what does not go through is tried again.
func (w *Writer) Run(ctx context.Context) error {
	sweep, stop := w.opts.sweep()
	defer stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var healDue time.Time // a repair that was put off: nothing is looked at before
	for {
		if healDue.IsZero() && w.unfinished() {
			healDue = w.opts.now().Add(healAgain)
		}
		w.arm(timer, healDue)
		suspect := false
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.inotify.events():
			suspect = w.concerns(e)
		case <-w.inotify.eventsLost():
			suspect = true
		case <-sweep:
			suspect = true
		case <-w.recheck:
			suspect = true
		case <-w.poke:
		case <-timer.C:
			w.endGrace()
			suspect = !healDue.IsZero()
		}
		if suspect && !w.opts.now().Before(healDue) {
			healDue = w.heal()
		}
	}
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

func (w *Writer) endGrace() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.collect()
}

// heal compares all that is ours with what it should be and puts back what
// differs. It gives the time to try again: after a failure, or where something
// undoes the repairs faster than they are allowed.
func (w *Writer) heal() (again time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.untidy {
		w.tidy()
	}
	cur := w.current.Load()
	w.inotify.followAll(cur)
	if cur == nil {
		return time.Time{}
	}
	now := w.opts.now()
	if w.limit.TokensAt(now) > repairBurst/2 {
		w.fought = false
	}
	if w.limit.TokensAt(now) < 1 {
		return w.putOff(cur, now)
	}
	repaired, err := w.repair(cur)
	if err != nil {
		w.log.Warn("could not put back what someone changed, will try again", "err", err)
		return now.Add(healAgain)
	}
	if repaired {
		w.limit.AllowN(now, 1)
	}
	return time.Time{}
}

// putOff gives the time of the next repair when there were too many.
func (w *Writer) putOff(cur *generation, now time.Time) time.Time {
	wounds := w.inspect(cur)
	if len(wounds) == 0 {
		return time.Time{}
	}
	if !w.fought {
		w.fought = true
		w.log.Warn("something keeps changing the files: they are put back less often now; look for a container that mounts the volume without readOnly", "path", wounds[0].path)
	}
	missing := (1 - w.limit.TokensAt(now)) / float64(w.limit.Limit())
	return now.Add(time.Duration(missing * float64(time.Second)))
}

// repair compares, and puts back what differs.
func (w *Writer) repair(cur *generation) (repaired bool, err error) {
	wounds := w.inspect(cur)
	if len(wounds) == 0 {
		w.unlinked = false
		return false, nil
	}
	for _, wound := range wounds[:min(len(wounds), maxNamed)] {
		w.log.Info("putting back what someone changed", "generation", cur.record.Generation, "path", wound.path)
	}
	if err := w.mend(cur, wounds); err != nil {
		return false, err
	}
	w.opts.Repaired()
	return true, nil
}

// secretDirs lists the directories of Secrets directly in DIR.
func (g *generation) secretDirs() []string {
	if g.record.Flat {
		return nil
	}
	return sortedKeys(g.record.Secrets)
}

// mend puts everything right, from the inside out.
func (w *Writer) mend(cur *generation, wounds []wound) error {
	defer func() { w.inotify.followAll(w.current.Load()) }()
	if slices.ContainsFunc(wounds, func(w wound) bool { return w.content }) {
		if err := w.repairContent(cur); err != nil {
			return err
		}
		cur = w.current.Load()
	}
	errs := []error{w.putLinks(cur)}
	if !w.leads(dataLink, cur.dir) {
		errs = append(errs, w.lead(dataLink, cur.dir))
	}
	for _, name := range cur.secretDirs() {
		if !w.modeIntact(name, cur.record.FileMode) {
			errs = append(errs, w.setDirMode(name, cur.record.FileMode))
		}
	}
	if !w.recordIntact(cur) {
		errs = append(errs, w.restoreFile(recordName(cur.dir), cur.record))
	}
	if !w.toldIntact() {
		errs = append(errs, w.restoreFile(notifyFile, toldRecord{Format: recordFormat, Told: w.told, Lost: w.toldLost}))
	}
	if err := errors.Join(append(errs, w.vol.SyncDir("."))...); err != nil {
		return w.explain(fmt.Errorf("repair %q: %w", w.opts.Dir, err))
	}
	return nil
}

// repairContent puts the files in a new directory of the same generation.
func (w *Writer) repairContent(cur *generation) error {
	// Nothing in the old one counts as unchanged.
	old := &generation{dir: cur.dir, record: cur.record, damaged: size(cur.set)}
	return w.replace(old, generation{record: cur.record, set: cur.set, restored: cur.restored})
}

func (w *Writer) restoreFile(name string, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return w.replaceFile(name, data)
}

// limiter of repairs: nothing that fights back makes more of them than this.
func newLimit() *rate.Limiter { return rate.NewLimiter(rate.Every(repairEvery), repairBurst) }
