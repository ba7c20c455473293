package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
	"github.com/secret-sync/secret-sync/test/suites/simulation/program"
)

// act is one thing that happens. weight is how often, beside the others.
type act struct {
	weight int
	do     func(w *world)
}

// acts are all there are. A fault lasts until the same act ends it.
var acts = []act{
	{40, (*world).change},
	{6, (*world).remove1},
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

// step does one of them. mu is held.
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

// change gives a Secret other data, other labels, or only another version.
func (w *world) change() {
	name, variant, label := pick(w, program.Secrets), w.rand.IntN(8), w.rand.IntN(6) > 0
	data := program.Keys(name, variant)
	if w.chance(0.15) {
		data = nil
	}
	o := w.api.Put(name, label, data)
	w.tracef("Secret %s is put: version %d, keys %q, label %v", name, o.Version, data, label)
}

func (w *world) remove1() {
	name := pick(w, program.Secrets)
	w.tracef("Secret %s is deleted", name)
	w.api.Delete(name)
}

// toggle begins a fault, or ends it.
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

// drive does what the seed says, then ends all faults, and waits for what has to be.
func (w *world) drive(ctx context.Context) {
	for range 20 + w.rand.IntN(60) {
		if !w.sleep(ctx, w.between(time.Millisecond, 90*time.Second)) {
			return
		}
		w.locked(w.step)
	}
	w.locked(w.heal)
	w.converge(ctx)
}

// heal ends all faults. Then there is a Secret for each watch, and none that is
// refused. What is well stays as it is: a change would be a reason to look again.
func (w *world) heal() {
	w.tracef("all faults end")
	w.server.Begin("")
	w.server.SetUnreliable(false)
	w.unreliable, w.diskFault, w.deadly = false, "", false
	for _, t := range w.targets {
		t.trouble = ""
	}
	for _, name := range program.Secrets {
		o := w.api.Get(name)
		if !program.Wanted(o) && (name == program.Required || name == "web1") || program.Wanted(o) && program.Refused(o) {
			o = w.api.Put(name, true, program.Keys(name, 4))
			w.tracef("Secret %s is put: version %d", name, o.Version)
		}
	}
}

const (
	// patience is within what time all is right after the last fault. A watch that
	// lost an event and goes on ends after ten minutes.
	patience = 15 * time.Minute
	// quiet is how long nothing may happen after that.
	quiet = 2 * time.Hour
	// quietRequests is what three watches may ask for meanwhile: a list and a
	// watch each five minutes at most.
	quietRequests = 3 * 2 * int(quiet/(5*time.Minute))
)

// converge waits until all is right, and checks that nothing happens then.
func (w *world) converge(ctx context.Context) {
	var err error
	for end := time.Now().Add(patience); ; {
		w.locked(func() { err = w.right() })
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
	if !w.sleep(ctx, patience) { // a watch that had a fault ends and begins anew
		return
	}
	var changes, calls, seen int
	w.locked(func() { changes, calls, seen = w.changes, w.calls, w.server.Requests() })
	if !w.sleep(ctx, quiet) {
		return
	}
	w.locked(func() {
		if w.changes != changes || w.calls != calls || w.server.Requests() > seen+quietRequests {
			w.failf("nothing happened for %v, and there were %d calls that change the volume, %d notifications, %d requests",
				quiet, w.changes-changes, w.calls-calls, w.server.Requests()-seen)
		} else if err := w.right(); err != nil {
			w.failf("not right any more: %v", err)
		}
	})
}

// right gives what is not as it has to be in the end. mu is held.
func (w *world) right() error {
	if w.life == nil {
		return errors.New("no program")
	}
	return w.reader.Right()
}
