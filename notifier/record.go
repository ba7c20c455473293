package notifier

// initRecord sets the generation of which the target counts as notified.
//
// With a record, this is the recorded generation. A target without a record is new in
// the configuration: it starts with the lowest generation of all records, because the
// app may have missed the later ones. Without any record, it counts as notified of the
// current generation, because the app starts later and has read no older generation.
//
// In an empty volume, the target counts as notified of generation 1, which is recorded
// in advance. With NotifyFirst, 0 is recorded instead. Assume a crash between the first
// publish and its notification: without this record, the next process would count
// generation 1 as notified.
//
// If an empty volume contains a record of 0 or 1, its process published nothing, so the
// present setting replaces it. A higher record remains: its volume lost its
// generations, and the app read some of them.
func (w *worker) initRecord() {
	newest := w.Volume.Newest()
	recorded, known := w.Volume.Notified(w.target.Key)
	if known && (newest > 0 || recorded > 1) {
		w.state.Notified = recorded
		return
	}
	w.state.Notified = newest
	if lowest, any := w.Volume.LowestNotified(); any && newest > 0 {
		w.state.Notified = lowest
	} else if newest == 0 && !w.NotifyFirst {
		w.state.Notified = 1
	}
	if !known || recorded != w.state.Notified {
		w.save()
	}
}

// save writes the record. It logs the first failure and the recovery.
func (w *worker) save() {
	err := w.Volume.SetNotified(w.target.Key, w.state.Notified)
	if err != nil && !w.unsaved {
		w.Logger.Warn("cannot record the notification; a restart may repeat it", "generation", w.state.Notified, "err", err)
	} else if err == nil && w.unsaved {
		w.Logger.Info("recorded the notification", "generation", w.state.Notified)
	}
	w.unsaved = err != nil
}
