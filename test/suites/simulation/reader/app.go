package reader

import (
	"encoding/json"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// An App reads all files whenever it is notified.
type App struct {
	r        *Reader
	name     string
	view     map[string]int // Secret → the stamp of the last read
	notified uint64         // the generation of the last notification
}

// NewApp returns an App that has read nothing.
func (r *Reader) NewApp(name string) *App {
	a := &App{r: r, name: name}
	r.apps = append(r.apps, a)
	return a
}

// Notified delivers a notification to the app.
func (a *App) Notified(number uint64) { a.view, a.notified = a.r.views(), number }

// CheckCall reports a failure if an app is notified before the files exist, or of a
// generation recorded as notified in the volume. A blind program could not read the record.
func (a *App) CheckCall(number uint64, blind bool) {
	r := a.r
	link := r.Disk.Root.Entries[generation.DataLink]
	if g := r.current(); g != nil && !g.lost && g.rec.Generation < number {
		r.Failf(
			"target %s is notified of generation %d while generation %d is in the volume",
			a.name,
			number,
			g.rec.Generation,
		)
	} else if link == nil && !r.Disk.Root.Touched[generation.DataLink] {
		r.Failf("target %s is notified of generation %d of an empty volume", a.name, number)
	}
	if recorded, ok := a.recorded(); ok && !blind && recorded == number && a.notified == number {
		r.Failf("target %s is notified of generation %d again, which is recorded", a.name, number)
	}
}

// recorded returns the notified generation in the volume, unless the record was harmed.
func (a *App) recorded() (uint64, bool) {
	n := a.r.Disk.Root.Entries[generation.NotifiedFile]
	if n == nil || n.Foreign {
		return 0, false
	}
	var record struct {
		Told map[string]uint64 `json:"notified"`
	}
	if json.Unmarshal(n.Data, &record) != nil {
		return 0, false
	}
	generation, ok := record.Told[a.name]
	return generation, ok
}
