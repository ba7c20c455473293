package rollout

import "time"

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
		events: []string{"create", "start", "report", "delete", "gone", "event", "publish", "notify", "kill",
			"restart"},
		world: func() world {
			return newWorld(Rules{}, oldPod("a"), newPending("b"))
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
		name: "missed: a watch misses the change and the change back", depth: 9,
		events: []string{"change", "change back", "reconnect", "event", "publish", "notify"},
		world: func() world {
			p := newPod("a")
			p.sidecars[0].up = false
			return newWorld(Rules{}, p)
		},
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
		name: "changed from, late: the data has changed before the first reading", depth: 11,
		events: []string{"change back", "event", "publish", "notify"},
		world: func() world {
			w := newWorld(Rules{}, newPod("a")).waitForChange()
			w.secret = secretVersion{3, 'c'}
			w.pods[0].sidecars[0].event(w.secret)
			w.pods[0].sidecars[0].publish()
			w.pods[0].sidecars[0].notify(false)
			w.versions = append(w.versions, w.secret)
			return w
		},
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
		name: "unnoticed: a sidecar has not noticed the restore", depth: 10,
		events: []string{"disconnect", "reconnect", "publish", "notify"},
		world: func() world {
			lost := newPod("a")
			lost.sidecars[0].observed.previous = [2]int{} // it was restarted
			w := newWorld(Rules{}, lost)
			w.restore()
			w.pods[0].sidecars[0].up = true
			return w
		},
	},
	{
		name: "changed from, restored: a sidecar saw other data in a lost history", depth: 14,
		events: []string{"change", "event", "publish", "notify", "reconnect"},
		world:  func() world { return lostHistory(newPod("a"), known{secretVersion{3, 'b'}, 3, [2]int{1, 2}}) },
	},
	{
		name: "changed from, replaced: a sidecar saw other data at last in a lost history", depth: 14,
		events: []string{"change", "event", "publish", "notify", "reconnect"},
		world:  func() world { return lostHistory(oldPod("a"), known{secretVersion{3, 'a'}, 1, [2]int{}}) },
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
			return newWorld(Rules{}, unreported, newPod("b"), newPending("c"))
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
		events: []string{"start", "event", "publish", "notify", "gone", "delete"},
		world: func() world {
			p := oldPod("a")
			p.sidecars[0].running, p.sidecars[0].up = false, false
			p.prepared, p.started, p.reported, p.appReported = true, false, false, false
			return newWorld(Rules{}, p, newPod("b"))
		},
	},
	{
		name: "unreported: the kubelet reports no container", depth: 10,
		events: []string{"event", "publish", "notify"},
		world: func() world {
			p := oldPod("a")
			p.unreported, p.reported, p.appReported = true, false, false
			return newWorld(Rules{}, p, newPod("b"))
		},
	},
	{
		name: "forgotten: the kubelet reports a start no longer", depth: 10,
		events: []string{"forget", "forget app", "notify"},
		world: func() world {
			p := oldPod("a")
			p.sidecars[0].event(secretVersion{2, 'b'})
			p.sidecars[0].publish()
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
		events: []string{"notify", "handle signal", "withdraw", "kill", "restart"},
		world: func() world {
			p := oldPod("a")
			p.signaled = true
			p.sidecars[0].event(secretVersion{2, 'b'})
			p.sidecars[0].publish()
			return newWorld(Rules{SignalGrace: grace}, p)
		},
	},
	{
		name: "other: a Pod reads the Secret when it starts", depth: 12,
		events: []string{"create", "start", "report", "delete", "gone", "event", "publish", "notify"},
		world: func() world {
			reader := oldPod("b")
			reader.reader = true
			reader.created = began.Add(clockSkew - time.Second) // by the clock of another API server
			w := newWorld(Rules{}, newPod("a"), reader)
			w.tally.Selector = ""
			return w
		},
	},
	{
		name: "later: a Pod that reads the Secret when it starts is created after the change", depth: 9,
		events: []string{"create", "start", "report"},
		world: func() world {
			reader := newPending("b")
			reader.reader = true
			w := newWorld(Rules{}, newPod("a"), reader)
			w.tally.Selector, w.now = "", w.now.Add(time.Hour)
			return w
		},
	},
}

// lostHistory returns a world in which the first sidecar knows version 2 of a lost history with the data a. In the
// restored cluster, version 2 contains b. The wait is for a change from this version.
func lostHistory(lost modelPod, have known) world {
	s := &lost.sidecars[0]
	s.have, s.observed, s.up = have, have, false
	connected := newPod("b")
	w := newWorld(Rules{}, lost, connected).waitForChange()
	w.secret = secretVersion{4, 'b'}
	w.versions = append(w.versions, w.secret)
	connected.sidecars[0].event(w.secret)
	return w
}
