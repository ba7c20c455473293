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
// way, and the tally under test. See world.
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

// A scenario is a start of the world, and the events that can happen in it.
type scenario struct {
	name   string
	depth  int
	events []string
	world  func() world
}

var scenarios = []scenario{
	{
		name: "rotation: Pods come and go, sidecars are killed", depth: 9,
		events: []string{"create", "start", "report", "delete", "gone", "event", "publish", "notify", "kill", "restart"},
		world: func() world {
			return newWorld(Rules{}, oldPod("a"), modelPod{uid: "b", sidecars: make([]modelSidecar, 1)})
		},
	},
	{
		name: "change: the data changes during the wait, and changes back", depth: 13,
		events: []string{"change", "change back", "label", "event", "publish", "notify"},
		world:  func() world { return newWorld(Rules{}, oldPod("a")) },
	},
	{
		name: "gap: a watch misses versions", depth: 8,
		events: []string{"change", "change back", "label", "event", "publish", "notify", "disconnect", "reconnect"},
		world:  func() world { return newWorld(Rules{}, newPod("a"), newPod("b")) },
	},
	{
		name: "restart: a new process knows no history", depth: 8,
		events: []string{"change", "change back", "label", "event", "publish", "notify", "kill", "restart"},
		world:  func() world { return newWorld(Rules{}, newPod("a"), newPod("b")) },
	},
	{
		name: "version: the data changes after the version", depth: 9,
		events: []string{"change back", "change", "event", "publish", "notify", "disconnect", "reconnect"},
		world:  func() world { return newWorld(Rules{}, newPod("a"), newPod("b")).waitForVersion() },
	},
	{
		name: "changed from: the data has not changed yet", depth: 13,
		events: []string{"change", "change back", "label", "event", "publish", "notify", "disconnect", "reconnect"},
		world:  func() world { return newWorld(Rules{}, newPod("a")).waitForChange() },
	},
	{
		name: "restore: the cluster goes back to a backup", depth: 11,
		events: []string{"restore", "label", "change", "event", "publish", "notify", "disconnect", "reconnect"},
		world:  func() world { return newWorld(Rules{}, newPod("a")) },
	},
	{
		name: "restored: a sidecar has a version of a lost history", depth: 10,
		events: []string{"label", "change", "event", "publish", "notify", "reconnect"},
		world: func() world {
			lost := newPod("a")
			lost.sidecars[0].up = false
			lost.sidecars[0].observed.previous = [2]int{} // it was restarted
			w := newWorld(Rules{}, lost, newPod("b"))
			w.restore()
			w.pods[1].sidecars[0].list(w.secret)
			w.pods[1].sidecars[0].publish()
			w.pods[1].sidecars[0].notify(false)
			return w
		},
	},
	{
		name: "changed from, restored: a sidecar saw other data in a lost history", depth: 14,
		events: []string{"change", "event", "publish", "notify", "reconnect"},
		world: func() world {
			lost := newPod("a")
			s := &lost.sidecars[0]
			s.have = known{secretVersion{3, 'b'}, 3, [2]int{1, 2}} // version 2 of the new history contains b
			s.observed, s.up = s.have, false
			connected := newPod("b")
			w := newWorld(Rules{}, lost, connected).waitForChange()
			w.secret = secretVersion{4, 'b'}
			w.versions = append(w.versions, w.secret)
			connected.sidecars[0].event(w.secret)
			return w
		},
	},
	{
		name: "address: two Pods share an address", depth: 10,
		events: []string{"answered by another", "event", "publish", "notify", "kill", "restart"},
		world:  func() world { return newWorld(Rules{}, newPod("a"), oldPod("b")) },
	},
	{
		name: "sidecars: two containers of a Pod use the same port", depth: 10,
		events: []string{"answered by another", "event", "publish", "notify", "kill", "restart"},
		world:  func() world { return newWorld(Rules{}, twoSidecars()) },
	},
	{
		name: "start: a Pod has started, and the kubelet reports it late", depth: 12,
		events: []string{"create", "start", "report", "event", "publish", "notify"},
		world: func() world {
			unreported := oldPod("a")
			unreported.reported, unreported.appReported = false, false
			return newWorld(Rules{}, unreported, newPod("b"), modelPod{uid: "c", sidecars: make([]modelSidecar, 1)})
		},
	},
	{
		name: "app: the app starts late, and the kubelet reports it late", depth: 13,
		events: []string{"start app", "report", "event", "publish", "notify"},
		world: func() world {
			p := oldPod("a")
			p.appStarted, p.appReported = false, false
			return newWorld(Rules{}, p)
		},
	},
	{
		name: "no sidecar yet: an init container has read the old version", depth: 10,
		events: []string{"report", "start", "event", "publish", "notify", "gone", "delete"},
		world: func() world {
			p := oldPod("a")
			p.sidecars[0].running, p.sidecars[0].up = false, false
			return newWorld(Rules{}, p, newPod("b"))
		},
	},
	{
		name: "records: the volume is emptied, or the notifications are lost", depth: 13,
		events: []string{"event", "publish", "notify", "kill", "restart", "empty volume", "lose records"},
		world:  func() world { return newWorld(Rules{}, oldPod("a")) },
	},
	{
		name: "signal: it stays pending, and the sidecar withdraws its report", depth: 13,
		events: []string{"event", "publish", "notify", "handle signal", "withdraw"},
		world: func() world {
			p := oldPod("a")
			p.signaled = true
			return newWorld(Rules{SignalGrace: grace}, p)
		},
	},
	{
		name: "other: a Pod reads the Secret when it starts", depth: 12,
		events: []string{"create", "start", "report", "delete", "gone", "event", "publish", "notify"},
		world: func() world {
			reader := oldPod("b")
			reader.reader = true
			return newWorld(Rules{}, newPod("a"), reader)
		},
	},
}

// TestModel_neverTooEarly tries every order of the events of each scenario.
func TestModel_neverTooEarly(t *testing.T) {
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
