package notifier

// endsMax is the number of ends in a row that stop the signals. A single end can be an OOM kill.
const endsMax = 2

// Stopped is the Error in the Status of a target that receives no more signals. After a single end it is "ended".
const Stopped = "stopped"

// isHeldBack reports whether the process must not be signaled for the newest generation: it ended after the signal
// for this generation, or it ended endsMax times in a row. The notification remains pending.
func (w *worker) isHeldBack() bool {
	r := w.record
	return r.Ends >= endsMax || r.Ends > 0 && r.Ended == w.Volume.Newest()
}

// ended returns the Failure of a number of ends, the last because of err.
func ended(ends int, err error) *Failure {
	if ends < endsMax {
		return &Failure{Kind: "ended", Err: err}
	}
	return Failf(Stopped, "%w; stopped signaling it after %d such ends, until SECRETSYNC_SIGNAL "+
		"or another setting of this target changes, or SECRETSYNC_SIGNAL_EXIT_CHECK is false", err, ends)
}

// observe checks whether the process survives its last signal. If it ended, the success becomes a failure: the target
// is not notified of the generation. The next generation is signaled once more.
func (w *worker) observe() {
	if !w.record.Observing {
		return
	}
	r := w.record
	survived, err := w.target.Process.Survived()
	if err != nil {
		r.Notified, r.Ended, r.Ends, r.Observing = r.Previous, r.Notified, r.Ends+1, false
		f := ended(r.Ends, err)
		w.count(f)
		w.save(r)
		w.Logger.Warn("the app ended after its notification", "generation", r.Ended, "err", f)
		w.Report(w.target.Name, f)
	} else if survived {
		r.Observing, r.Ends = false, 0
		w.save(r)
	}
}
