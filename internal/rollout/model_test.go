package rollout

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// The model checks the promise of this package against every order of events in small
// worlds.
//
// State: a world contains the Secret's history in the API server, Pods with their sidecars
// and apps, the Pods' states as the API server shows them, answers and watch events on their
// way, and the tally under test. The sidecars use the history of package watcher. See world.
//
// Events: the world's events happen in the cluster (a change of the Secret, a start, a
// publish, a notification, a kill, a restored backup). The wait's events are its requests
// and their answers (an answer shows the past: it was made when the sidecar was asked). See
// worldEvents and waitEvents. Time passes as an event, too, and only under the assumptions
// behind the graces: a kubelet reports a start, and an app handles a signal, in time.
//
// Property: when the wait succeeds, every app in a Pod uses the data of the Secret, and that
// data is the data to wait for. See tooEarly.
//
// Each scenario enables few events, so that all their orders can be tried. A scenario also
// fails if no order leads to success, because a wait that never succeeds is never too early.

// TestModel_neverTooEarly tries every order of the events of each scenario.
func TestModel_neverTooEarly(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute with the race detector, and starts no goroutine")
	}
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) { s.explore(t) })
	}
}

// explore tries every order of events, breadth first, up to the depth of the scenario.
func (s scenario) explore(t *testing.T) {
	start := s.world()
	start.list()
	start.read()
	level, seen, successes := []world{start}, map[string]bool{start.key(): true}, 0
	for range s.depth {
		var next []world
		for _, from := range level {
			for name, event := range s.enabled(from) {
				to := from.clone()
				event(&to)
				to.path = from.path + ", " + name
				if to.succeeded {
					successes++
					if problem := to.tooEarly(); problem != "" {
						t.Fatalf("success, but %s, after%s", problem, to.path[1:])
					}
					continue
				}
				if key := to.key(); !to.ended && !seen[key] {
					seen[key] = true
					next = append(next, to)
				}
			}
		}
		level = next
	}
	t.Logf("%d states, %d ways to success", len(seen), successes)
	if successes == 0 {
		t.Error("no order of the events leads to success")
	}
}

// enabled returns the events that can happen next, by name.
func (s scenario) enabled(w world) map[string]func(*world) {
	events := w.waitEvents(slices.Contains(s.events, "answered by another"))
	if w.confirming { // the wait handles nothing else while it confirms
		maps.DeleteFunc(events, func(name string, _ func(*world)) bool { return name != "confirm: read" })
	}
	for name, event := range w.worldEvents() {
		if kind, _, _ := cut(name); slices.Contains(s.events, kind) {
			events[name] = event
		}
	}
	return events
}

// tooEarly returns the reason why the wait must not have succeeded, "" if it was right.
func (w world) tooEarly() string {
	switch {
	case w.changed:
		return "the data changed during the wait"
	case w.wanted != 0 && w.secret.data != w.wanted:
		return fmt.Sprintf("the data is %c, and the wait was for %c", w.secret.data, w.wanted)
	case w.unwanted != 0 && w.secret.data == w.unwanted:
		return fmt.Sprintf("the data is still %c", w.secret.data)
	}
	for _, p := range w.pods {
		for i, s := range p.sidecars {
			if p.bound && p.appStarted && s.app != w.secret.data {
				return fmt.Sprintf("app %d of Pod %s uses %c", i, p.uid, s.app)
			}
		}
	}
	return ""
}
