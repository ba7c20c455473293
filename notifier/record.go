package notifier

import (
	"fmt"
	"time"
)

// endsMax is the number of ends in a row that stop the signals. A single end can be an OOM kill.
const endsMax = 2

// ends are the last notifications in a row after which the process ended.
type ends struct {
	generation uint64 // of the last of them
	times      int
}

// endsKey identifies the ends of the target with its present settings.
func (w *worker) endsKey() string { return w.target.Key + " " + w.target.Process.Settings() }

// restore sets the state from the records of an earlier process, and writes a missing record.
//
// A target without a record is new in the configuration. It starts with the lowest generation of all
// records, because the app may have missed the later ones, or without any record with the current
// generation, because the app starts later.
//
// In an empty volume, the target counts as notified of generation 1, or of none with NotifyFirst. This is
// recorded in advance: after a crash between the first publish and its notification, the next process could
// not tell whether generation 1 is pending. The present setting replaces such a record of 0 or 1. With a
// higher record, the volume lost its generations.
func (w *worker) restore() {
	newest := w.Volume.Newest()
	recorded, known := w.Volume.Notified(w.target.Key)
	lowest, others := w.Volume.LowestNotified()
	s := &w.state
	switch {
	case known && (newest > 0 || recorded > 1):
		s.Notified = recorded
	case others && newest > 0:
		s.Notified = lowest
	case newest == 0 && !w.NotifyFirst:
		s.Notified = 1
	default:
		s.Notified = newest
	}
	if !known || recorded != s.Notified {
		w.save()
	}
	if newest > 0 { // the earlier process may have notified the target a moment ago
		s.QuietUntil = time.Now().Add(w.target.Interval)
	}
	if w.target.Process != nil {
		w.ends.generation, w.ends.times = w.Volume.Ended(w.endsKey())
	}
	if w.isStopped() {
		s.Error, s.Failures = w.ends.kind(), uint64(w.ends.times)
	}
}

// save writes the record. It logs the first failure and the recovery.
func (w *worker) save() {
	err := w.Volume.SetNotified(w.target.Key, w.state.Notified)
	if err != nil && !w.unsaved {
		w.Logger.Warn("cannot record the notification; a restart may repeat it",
			"generation", w.state.Notified, "err", err)
	} else if err == nil && w.unsaved {
		w.Logger.Info("recorded the notification", "generation", w.state.Notified)
	}
	w.unsaved = err != nil
}

// isStopped reports whether the newest generation must not be signaled: the process ended after the signal
// for this generation, or it ended endsMax times in a row.
func (w *worker) isStopped() bool {
	return w.ends.times >= endsMax || w.ends.times > 0 && w.ends.generation == w.Volume.Newest()
}

// kind returns the kind of failure in the status.
func (e ends) kind() string { return []string{"", "ended", "stopped"}[min(e.times, endsMax)] }

// observe checks whether the process survives the signal for the observed generation. If it ended, the
// success becomes a failure: the target is not notified of the generation. The next generation is signaled
// once more.
func (w *worker) observe() {
	if w.observed == 0 {
		return
	}
	survived, err := w.target.Process.Survived()
	switch {
	case err != nil:
		w.withdraw(AsFailure(err))
	case !survived:
		return
	case w.ends.times > 0:
		w.saveEnds(ends{})
	}
	w.observed = 0
}

func (w *worker) withdraw(f *Failure) {
	e := ends{w.observed, w.ends.times + 1}
	if e.times >= endsMax {
		f.Err = fmt.Errorf("%w; stopped signaling it after %d such ends, until its settings change "+
			"or SECRETSYNC_SIGNAL_EXIT_CHECK is false", f.Err, e.times)
	}
	w.mu.Lock()
	w.state.Notified, w.state.Error = w.previous, e.kind()
	w.state.Failed++
	w.state.Failures++
	w.mu.Unlock()
	w.save() // before the ends: after a crash in between, the notification is repeated
	w.saveEnds(e)
	w.Logger.Warn("the app ended after its notification", "generation", w.observed, "err", f)
	w.Report(w.target.Name, f)
}

// saveEnds sets and stores the ends. After a failed write, a restart forgets them.
func (w *worker) saveEnds(e ends) {
	w.ends = e
	if err := w.Volume.SetEnded(w.endsKey(), e.generation, e.times); err != nil {
		w.Logger.Warn("cannot record the end of the process", "err", err)
	}
}
