package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
	"github.com/secret-sync/secret-sync/test/suites/simulation/program"
)

// An act is an event that the driver can cause. weight is its relative frequency.
type act struct {
	weight int
	do     func(w *world)
}

// acts lists all events. A fault lasts until the same act ends it.
var acts = []act{
	{40, (*world).change},
	{6, (*world).deleteSecret},
	{8, (*world).toggleAnswer},
	{5, (*world).toggleUnreliable},
	{8, func(w *world) { w.toggle(&w.diskFault, "the volume", diskFaults) }},
	{8, func(w *world) { t := pick(w, w.targets); w.toggle(&t.trouble, t.name, troubles) }},
	{8, (*world).harm},
	{6, func(w *world) { w.deadly = true; w.tracef("the program will be killed at a call on the volume") }},
	{3, func(w *world) { w.life.kill("just so") }},
	{3, func(w *world) {
		if w.life != nil {
			w.tracef("TERM")
			w.life.stop()
		}
	}},
	{3, func(w *world) {
		if w.life != nil && w.life.reread != nil {
			w.tracef("HUP")
			w.life.reread()
		}
	}},
}

// step causes one event. mu is held.
func (w *world) step() {
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	dice := w.rand.IntN(total)
	for _, a := range acts {
		if dice -= a.weight; dice < 0 {
			a.do(w)
			return
		}
	}
}

// change gives a Secret new data, new labels, or only a new version.
func (w *world) change() {
	name, variant, label := pick(w, program.Secrets), w.rand.IntN(8), w.rand.IntN(6) > 0
	data := program.Keys(name, variant)
	if w.chance(0.15) {
		data = nil
	}
	o := w.api.Set(name, label, data)
	w.tracef("Secret %s is put: version %d, keys %q, label %v", name, o.Version, data, label)
}

func (w *world) deleteSecret() {
	name := pick(w, program.Secrets)
	w.tracef("Secret %s is deleted", name)
	w.api.Delete(name)
}

// toggle begins or ends a fault.
func (w *world) toggle(fault *string, of string, kinds []string) {
	kind := pick(w, kinds)
	if *fault != "" {
		kind = ""
	}
	*fault = kind
	w.tracef("%s: %q", of, kind)
}

func (w *world) toggleAnswer() {
	answer := w.server.Answer()
	w.toggle(&answer, "the API server", apiserver.Answers)
	w.server.Begin(answer)
}

func (w *world) toggleUnreliable() {
	w.unreliable = !w.unreliable
	w.server.SetUnreliable(w.unreliable)
	w.tracef("watches are unreliable: %v", w.unreliable)
}

// drive causes the events of the seed, ends all faults, and waits for convergence.
func (w *world) drive(ctx context.Context) {
	for range 20 + w.rand.IntN(60) {
		if !w.sleep(ctx, w.between(time.Millisecond, 90*time.Second)) {
			return
		}
		w.locked(w.step)
	}
	w.locked(w.endFaults)
	w.converge(ctx)
}

// endFaults ends all faults. Afterwards each watch selects a Secret, and no Secret is
// rejected. It leaves correct state unchanged, because a change would trigger a reconcile.
func (w *world) endFaults() {
	w.tracef("all faults end")
	w.server.Begin("")
	w.server.SetUnreliable(false)
	w.unreliable, w.diskFault, w.deadly = false, "", false
	for _, t := range w.targets {
		t.trouble = ""
	}
	for _, name := range program.Secrets {
		o := w.api.Get(name)
		if !program.Wanted(o) && (name == program.Required || name == "web1") ||
			program.Wanted(o) && program.Refused(o) {
			o = w.api.Set(name, true, program.Keys(name, 4))
			w.tracef("Secret %s is put: version %d", name, o.Version)
		}
	}
}

const (
	// patience is the time limit for convergence after the last fault. A watch that lost
	// an event without noticing ends after ten minutes.
	patience = 15 * time.Minute
	// quiet is the period after convergence in which nothing may happen.
	quiet = 2 * time.Hour
	// quietRequests is the maximum number of requests of three watches in this period: a
	// list and a watch every five minutes.
	quietRequests = 3 * 2 * int(quiet/(5*time.Minute))
)

// converge waits until the state is correct. Nothing may happen afterwards.
func (w *world) converge(ctx context.Context) {
	var err error
	for end := time.Now().Add(patience); ; {
		w.locked(func() { err = w.checkFinal() })
		if err == nil || time.Now().After(end) {
			break
		}
		if !w.sleep(ctx, time.Second) {
			return
		}
	}
	if err != nil {
		w.locked(func() { w.failf("not right %v after the last fault: %v", patience, err) })
		return
	}
	w.tracef("all is right")
	if !w.sleep(ctx, patience) { // a watch with a fault ends and starts again
		return
	}
	var changes, calls, seen int
	w.locked(func() { changes, calls, seen = w.changes, w.calls, w.server.Requests() })
	if !w.sleep(ctx, quiet) {
		return
	}
	w.locked(func() {
		if w.changes != changes || w.calls != calls || w.server.Requests() > seen+quietRequests {
			w.failf("nothing happened for %v, and there were %d calls that change the volume, %d notifications, "+
				"%d requests", quiet, w.changes-changes, w.calls-calls, w.server.Requests()-seen)
		} else if err := w.checkFinal(); err != nil {
			w.failf("not right any more: %v", err)
		}
	})
}

// checkFinal returns the differences from the required final state. mu is held.
func (w *world) checkFinal() error {
	if w.life == nil {
		return errors.New("the program is not running")
	}
	return w.reader.CheckFinal()
}
