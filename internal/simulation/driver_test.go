package simulation

import (
	"context"
	"time"
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
	{8, func(w *world) { w.toggleAnswer() }},
	{5, func(w *world) { w.unreliable = !w.unreliable; w.tracef("watches are unreliable: %v", w.unreliable) }},
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
	name, variant, label := pick(w, secrets), w.rand.IntN(8), w.rand.IntN(6) > 0
	data := keys(name, variant)
	if w.chance(0.15) {
		data = nil
	}
	w.truth.put(name, label, data)
	w.tracef("Secret %s is put: version %d, keys %q, label %v", name, w.truth.rv, data, label)
}

func (w *world) remove1() {
	name := pick(w, secrets)
	w.tracef("Secret %s is deleted", name)
	w.truth.delete(name)
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
	answer := w.answer
	w.toggle(&answer, "the API server", answers)
	w.begin = &answer
}

// drive does what the seed says, then ends all faults, and waits for what has to be.
func (w *world) drive(ctx context.Context) {
	for range 20 + w.rand.IntN(60) {
		if !w.sleep(ctx, w.between(time.Millisecond, 90*time.Second)) {
			return
		}
		w.do(w.step)
	}
	w.do(w.heal)
	w.converge(ctx)
}

// do does something, and begins what the API server shall do then.
func (w *world) do(what func()) {
	w.locked(what)
	if w.begin != nil {
		w.server.begin(*w.begin)
		w.begin = nil
	}
}

// heal ends all faults. Then there is a Secret for each watch, and none that is
// refused. What is well stays as it is: a change would be a reason to look again.
func (w *world) heal() {
	w.tracef("all faults end")
	well := ""
	w.begin = &well
	w.unreliable, w.diskFault, w.deadly = false, "", false
	for _, t := range w.targets {
		t.trouble = ""
	}
	for _, name := range secrets {
		o := w.truth.objects[name]
		if !wanted(o) && (name == required || name == "web1") || wanted(o) && refused(o) {
			w.truth.put(name, true, keys(name, 4))
			w.tracef("Secret %s is put: version %d", name, w.truth.rv)
		}
	}
}
