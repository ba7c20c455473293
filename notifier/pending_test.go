package notifier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every order, up to this many steps, of what can happen to a pending
// notification.
const pendingDepth = 6

// The steps. Each is followed by enough time for all that follows.
const (
	publish = 'P' // a generation, and a poke when the process is up
	refuse  = 'F' // from now on the app cannot be notified
	accept  = 'A' // from now on it can
	full    = 'E' // from now on records cannot be kept
	room    = 'M' // from now on they can
	crash   = 'K' // SIGKILL
	between = 'C' // a generation, and SIGKILL before the poke
	midway  = 'D' // SIGKILL at the next Notify, after the app heard it and before the record
	restart = 'R'
)

// world is one run of a sequence.
type world struct {
	t     *testing.T
	first bool // NotifyFirst
	steps string
	disk  *disk
	app   *fakeApp

	life *life // nil while the process is down
	n    *Notifier
	stop func()
	doom *bool // the next Notify kills

	settled   uint64 // what the first start of all counted as notified
	ran       bool   // there was a first start
	excused   int    // repetitions that a crash explains
	lastHeard int
}

func TestPendingEnumerated(t *testing.T) {
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprintf("NotifyFirst=%v", first), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				runs := 0
				enumerate("", func(steps string) {
					runs++
					runWorld(t, first, steps)
				})
				t.Logf("%d sequences", runs)
			})
		})
	}
}

// enumerate calls run with every sequence of that depth that makes sense: no
// restart of what runs, no crash of what does not, no state set that is set.
// Shorter ones are prefixes of these, and runWorld checks after each step.
func enumerate(steps string, run func(string)) {
	if len(steps) == pendingDepth {
		run(steps)
		return
	}
	up, refusing, isFull := false, false, false
	for _, s := range steps {
		switch s {
		case restart:
			up = true
		case crash, between:
			up = false
		case refuse, accept:
			refusing = s == refuse
		case full, room:
			isFull = s == full
		}
	}
	for _, s := range []rune{publish, refuse, accept, full, room, crash, between, midway, restart} {
		switch {
		case s == restart && up && !strings.ContainsRune(steps, midway), // midway may have ended it
			(s == crash || s == between || s == midway) && !up,
			s == refuse && refusing, s == accept && !refusing,
			s == full && isFull, s == room && !isFull:
			continue
		}
		enumerate(steps+string(s), run)
	}
}

func runWorld(t *testing.T, first bool, steps string) {
	w := &world{t: t, first: first, steps: steps, disk: newDisk(0), app: &fakeApp{name: "app"}}
	defer w.kill()
	for _, s := range steps {
		w.step(s)
		w.settle()
		w.check(s)
	}
	// In the end everything works again, and then nothing is pending.
	for _, s := range []rune{accept, room, restart} {
		w.step(s)
		w.settle()
		w.check(s)
	}
	w.checkNotified()
}

// settle lets time go by: more than the longest backoff.
func (w *world) settle() {
	time.Sleep(2 * backoffMax)
	synctest.Wait()
	if w.doom != nil && *w.doom { // it died in a Notify
		w.doom = nil
		w.excused++
		w.kill()
	}
}

func (w *world) step(s rune) {
	switch s {
	case publish:
		w.disk.publish()
		if w.n != nil {
			w.n.Poke()
		}
	case refuse:
		w.app.set(func(a *fakeApp) { a.err = context.DeadlineExceeded })
	case accept:
		w.app.set(func(a *fakeApp) { a.err = nil })
	case full, room:
		w.disk.set(func(d *disk) { d.full = s == full })
	case crash:
		w.kill()
	case between:
		w.disk.publish()
		w.kill()
	case midway:
		w.armed()
	case restart:
		w.boot()
	}
}

// armed makes the next Notify that the app hears the last thing this process does.
func (w *world) armed() {
	if w.life == nil {
		return
	}
	life, died := w.life, false
	w.doom = &died
	w.app.set(func(a *fakeApp) {
		a.each = func(err error) {
			if err == nil {
				died = true
				life.die()
			}
		}
	})
}

func (w *world) boot() {
	if w.n != nil {
		return
	}
	if _, known := w.disk.notified["app"]; !known {
		// No record: what is there counts as notified, in an empty volume the first
		// one. Later starts come here only if no record could be kept.
		w.settled = w.disk.newest
		if w.settled == 0 && !w.first {
			w.settled = 1
		}
	}
	w.ran = true
	w.life = &life{disk: w.disk}
	w.n, w.stop = start(w.t, Options{Targets: []Target{w.app.target()}, Volume: w.life, NotifyFirst: w.first})
}

// kill ends the process at once: nothing of it reaches the disk any more.
func (w *world) kill() {
	if w.n == nil {
		return
	}
	w.life.die()
	w.app.set(func(a *fakeApp) { a.each = nil })
	if w.disk.full {
		w.excused++ // the notification may not be recorded
	}
	w.stop()
	w.n, w.life, w.doom = nil, nil, nil
}

// check holds after every step.
func (w *world) check(s rune) {
	heard := w.app.notified()
	if !slices.IsSorted(heard) {
		w.t.Fatalf("%s at %c: an older generation after a newer one: %v", w.steps, s, heard)
	}
	repeated := len(heard) - len(slices.Compact(slices.Clone(heard)))
	if repeated > w.excused {
		w.t.Fatalf("%s at %c: notified twice without a crash between Notify and record: %v", w.steps, s, heard)
	}
	if n := len(heard); n > 0 && heard[n-1] > w.disk.newest {
		w.t.Fatalf("%s at %c: notified of %d, the newest is %d", w.steps, s, heard[n-1], w.disk.newest)
	}
	if new := len(heard) - w.lastHeard; new > 1 {
		w.t.Fatalf("%s at %c: %d notifications for one step: %v", w.steps, s, new, heard)
	}
	w.lastHeard = len(heard)
	if w.n != nil && w.app.err == nil && w.n.Status()[0].Pending {
		w.t.Fatalf("%s at %c: pending though the app can be notified", w.steps, s)
	}
}

// checkNotified: the app heard of the newest generation, unless that counted as notified
// when the target had no record.
func (w *world) checkNotified() {
	heard := w.app.notified()
	notified := len(heard) > 0 && heard[len(heard)-1] == w.disk.newest
	if !notified && w.disk.newest > w.settled {
		w.t.Fatalf("%s: the app never heard of %d: %v", w.steps, w.disk.newest, heard)
	}
	if slices.ContainsFunc(heard, func(g uint64) bool { return g <= w.firstSettled() }) {
		w.t.Fatalf("%s: notified of what counted as notified: %v", w.steps, heard)
	}
	if got := w.disk.notified["app"]; w.disk.newest > 0 && got != w.disk.newest {
		w.t.Fatalf("%s: the record is %d, want %d", w.steps, got, w.disk.newest)
	}
}

// firstSettled is a bound that holds without a model of failed records: nothing
// before the first start is notified, and generation 1 only if NotifyFirst.
func (w *world) firstSettled() uint64 {
	if w.first {
		return 0
	}
	return 1
}
