package notifier

// settle decides what a target without a record counts as notified of: the
// generation that is there, since the app starts later and has read none older.
//
// In an empty volume that is the first one, 1, recorded in advance. With NotifyFirst
// it is none, recorded as well: without a record, a process that starts after a
// crash between the first publish and the notification would take generation 1
// as notified.
//
// A record of 0 or 1 in an empty volume comes from an earlier start that
// published nothing, and follows the present setting. A higher one comes from a
// volume whose generations were lost. It stays: the app has read some of them.
func (w *worker) settle() {
	newest := w.Volume.Newest()
	recorded, known := w.Volume.Notified(w.target.Name)
	if known && (newest > 0 || recorded > 1) {
		w.state.Notified = recorded
		return
	}
	w.state.Notified = newest
	if newest == 0 && !w.NotifyFirst {
		w.state.Notified = 1
	}
	if !known || recorded != w.state.Notified {
		w.save()
	}
}

func (w *worker) save() {
	err := w.Volume.SetNotified(w.target.Name, w.state.Notified)
	if err != nil && !w.unsaved {
		w.Logger.Warn("cannot record the notification; a restart may repeat it", "generation", w.state.Notified, "err", err)
	} else if err == nil && w.unsaved {
		w.Logger.Info("recorded the notification", "generation", w.state.Notified)
	}
	w.unsaved = err != nil
}
