package notifier

import (
	"encoding/json"
	"time"
)

// firstGeneration is the number of the first generation in a volume.
const firstGeneration = 1

// settle decides what a target without a record has been told: the generation
// that is there, since the app starts after it and has read nothing older.
//
// In an empty volume that is the first one, recorded in advance; with
// notifyFirst it is none, recorded as well: if the process dies between the
// first publish and the notification, the next one finds the record 0 and owes
// generation 1, where without a record it would take that as told.
//
// A record of 0 or 1 in an empty volume is such a one of an earlier start that
// published nothing, and follows the present setting. A higher one there is of a
// volume whose generations were lost, and stays: the app has read some, and is
// owed the next.
func (w *worker) settle(notifyFirst bool) {
	newest := w.volume.Newest()
	told, known := w.volume.Told(w.target.Name())
	if known && (newest > 0 || told > firstGeneration) {
		w.told = told
		return
	}
	settled := newest
	if newest == 0 && !notifyFirst {
		settled = firstGeneration
	}
	w.told = settled
	w.unsaved = !known || told != settled
	w.save()
}

// save writes the record if it is not on disk and its time has come. It never
// gives up, as a volume that was full has room again some day.
func (w *worker) save() {
	if !w.unsaved || time.Now().Before(w.saveAt) {
		return
	}
	err := w.volume.SetTold(w.target.Name(), w.told)
	if err == nil {
		if w.saves > 0 {
			w.logger.Info("kept what the app was told", "generation", w.told)
		}
		w.unsaved, w.saves = false, 0
		return
	}
	if w.saves == 0 {
		w.logger.Warn("cannot keep what the app was told; a restart may tell it again", "generation", w.told, "err", err)
	}
	w.saveAt = time.Now().Add(backoff(w.saves))
	w.saves++
}

// encode is the body of the webhook and the standard input of the command. No
// list is null: the receiver may loop over each without a look.
func encode(changes Changes) ([]byte, error) {
	for _, list := range []*[]string{&changes.Secrets, &changes.Added, &changes.Changed, &changes.Removed} {
		if *list == nil {
			*list = []string{}
		}
	}
	return json.Marshal(changes)
}
