package notifier

import (
	"context"
	"errors"
	"fmt"
)

// endsMax is the number of notifications in a row after which the process may end. A
// single end can be a coincidence, such as an OOM kill.
const endsMax = 2

// ends are the last notifications in a row after which the process ended.
type ends struct {
	generation uint64 // of the last of them
	times      int
}

// A watch observes whether a process survives its signal. The zero value observes
// nothing.
type watch struct {
	previous, generation uint64 // notified before and with the signal
	cancel               context.CancelFunc
	result               chan error
}

// initEnds restores the ends recorded by an earlier process.
func (w *worker) initEnds() {
	if w.target.Process == nil {
		return
	}
	w.ends.generation, w.ends.times = w.Volume.Ended(w.endsKey())
	if w.isStopped() {
		w.state.Error, w.state.Failures = w.ends.kind(), uint64(w.ends.times)
	}
}

// endsKey identifies the ends of the target with its present settings.
func (w *worker) endsKey() string { return w.target.Key + " " + w.target.Process.Settings() }

// kind returns the kind of failure in the status.
func (e ends) kind() string {
	switch {
	case e.times == 0:
		return ""
	case e.times < endsMax:
		return "ended"
	}
	return "stopped"
}

// isStopped reports whether the newest generation must not be signaled: the process
// ended after the signal for this generation, or it ended endsMax times in a row.
func (w *worker) isStopped() bool {
	return w.ends.times >= endsMax || w.ends.times > 0 && w.ends.generation == w.Volume.Newest()
}

// watchProcess starts to observe the signaled process.
func (w *worker) watchProcess(ctx context.Context, previous, generation uint64) {
	if w.target.Process == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	w.watch = watch{previous: previous, generation: generation, cancel: cancel, result: make(chan error, 1)}
	result := w.watch.result
	go func() { result <- w.target.Process.Survives(ctx) }()
}

// stopWatching ends the observation and handles its result.
func (w *worker) stopWatching() {
	if w.watch.cancel != nil {
		w.watch.cancel()
		w.survived(<-w.watch.result)
	}
}

// survived handles the result of an observation. If the observation was canceled, it is
// unknown whether the process survives.
func (w *worker) survived(err error) {
	observed := w.watch
	observed.cancel()
	w.watch = watch{}
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		w.withdraw(observed, AsFailure(err))
	case err == nil && w.ends.times > 0:
		w.saveEnds(ends{})
	}
}

// withdraw turns the success of a notification into a failure: the target is not notified
// of the generation. The next generation is signaled once more.
func (w *worker) withdraw(observed watch, f *Failure) {
	times := w.ends.times + 1
	if times >= endsMax {
		f.Err = fmt.Errorf("%w; stopped signaling it after %d such ends, until its settings change "+
			"or SECRETSYNC_SIGNAL_EXIT_CHECK is false", f.Err, times)
	}
	w.mu.Lock()
	w.state.Notified = observed.previous
	w.state.Failed++
	w.state.Failures++
	w.mu.Unlock()
	w.save() // before the ends: after a crash in between, the notification is repeated
	w.saveEnds(ends{observed.generation, times})
	w.Logger.Warn("the app ended after its notification", "generation", observed.generation, "err", f)
	w.Report(w.target.Name, f)
}

// saveEnds sets and stores the ends. After a failed write, a restart forgets them.
func (w *worker) saveEnds(e ends) {
	w.ends = e
	w.mu.Lock()
	w.state.Error = e.kind()
	w.mu.Unlock()
	if err := w.Volume.SetEnded(w.endsKey(), e.generation, e.times); err != nil {
		w.Logger.Warn("cannot record the end of the process", "err", err)
	}
}
