package rollout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

// start is the time at which the tallies of the tests begin.
var start = time.Unix(1_000_000, 0)

// newTestTally returns a tally for version 2, with Pods that were just listed.
func newTestTally(t *testing.T, r Rules, pods ...pod) *tally {
	t.Helper()
	r.Secret = "db"
	tally := newTally(r, "", "")
	tally.replace(toPointers(pods), start)
	tally.history.read(reading{uid: "u", version: "2", changed: start.Add(-time.Minute)})
	return tally
}

var bySelector = Rules{Selector: "app=shop", SignalGrace: 5 * time.Second, StartGrace: 10 * time.Second}

// toPointers returns fresh Pods, as a list does.
func toPointers(pods []pod) (all []*pod) {
	for _, p := range pods {
		all = append(all, fresh(p))
	}
	return all
}

// fresh returns a copy of p without any knowledge of its sidecars.
func fresh(p pod) *pod {
	p.probes = slices.Clone(p.probes)
	for i, s := range p.probes {
		p.probes[i] = &probe{container: s.container, reason: "its sidecar has not answered yet"}
	}
	return &p
}

// runningPod returns a Pod with sidecars that run in these containers.
func runningPod(uid string, containers ...string) pod {
	p := pod{PodState: PodState{Namespace: "shop", Name: "pod-" + uid, UID: uid}, bound: true}
	for _, c := range containers {
		p.probes = append(p.probes, &probe{container: c})
	}
	return p
}

// done returns the answer of a container that is done.
func done(uid, container string, targets ...status.Target) *status.Document {
	return &status.Document{
		Format: 2, Namespace: "shop", Pod: "pod-" + uid, PodUID: uid, Instance: "instance " + uid + container,
		Volume: "volume " + container, Generation: 5, Complete: true, Targets: targets,
		Secrets: map[string]status.Secret{"db": {Present: true, UID: "u", ResourceVersion: "2", DataSince: "2",
			Generation: 3}},
		Watches: []status.Watch{{Name: "secret/db", Up: true}},
	}
}

func target(name string, notified uint64) status.Target {
	return status.Target{Name: name, Notified: notified}
}

// TestTally_answer: the reasons why an answer does not make a Pod done.
func TestTally_answer(t *testing.T) {
	secretDB := func(change func(*status.Secret)) func(*status.Document) {
		return func(d *status.Document) { s := d.Secrets["db"]; change(&s); d.Secrets["db"] = s }
	}
	for _, c := range []struct {
		name   string
		change func(*status.Document)
		want   string // a part of the reason, "" for done
	}{
		{"done", func(*status.Document) {}, ""},
		{"without a UID of the Pod", func(d *status.Document) { d.PodUID = "" }, "set POD_NAME and POD_UID"},
		{"another Pod", func(d *status.Document) { d.PodUID = "b" }, "answers at its address"},
		{"another namespace", func(d *status.Document) { d.Namespace = "other" }, "answers at its address"},
		{"without an instance", func(d *status.Document) { d.Instance = "" }, "does not identify"},
		{"without a volume", func(d *status.Document) { d.Volume = "" }, "does not identify"},
		{"not complete", func(d *status.Document) { d.Complete = false }, "not in the volume"},
		{"watch down", func(d *status.Document) { d.Watches[0].Up = false }, "watch of its sidecar is down"},
		{"no watch", func(d *status.Document) { d.Watches = nil }, "watch of its sidecar is down"},
		{"gone", secretDB(func(s *status.Secret) { s.Present = false }), "no such Secret"},
		{"another object", secretDB(func(s *status.Secret) { s.UID = "w" }), "uid w"},
		{"of a lost history", secretDB(func(s *status.Secret) { s.ResourceVersion = "3" }), "does not have"},
		{"old", secretDB(func(s *status.Secret) { s.ResourceVersion, s.DataSince = "1", "1" }), "has version 1"},
		{"refused", secretDB(func(s *status.Secret) { s.Refused = "empty_key" }), "rejects the Secret: empty_key"},
		{"not in the volume", secretDB(func(s *status.Secret) { s.Generation = 0 }), "not in the volume"},
		{"notified", func(d *status.Document) {
			d.Targets = []status.Target{target("exec", 3),
				target("webhook/2", 5)}
		}, ""},
		{"a target is not notified", func(d *status.Document) {
			d.Targets = []status.Target{target("exec", 3),
				target("webhook/2", 2)}
		},
			"webhook/2 is not notified"},
		{"a record of a volume that was emptied",
			func(d *status.Document) { d.Targets = []status.Target{target("exec", 9)} }, "exec is not notified"},
		{"does not watch it", func(d *status.Document) { d.Secrets, d.Watches = nil, d.Watches[:0] },
			"no sidecar watches the Secret"},
		{"watches it, not synced yet", func(d *status.Document) { d.Secrets = nil }, "no such Secret"},
		{"selected", func(d *status.Document) { d.Watches[0].Name = "selector" }, ""},
		{"not selected", func(d *status.Document) { d.Secrets, d.Watches[0].Name = nil, "selector" },
			"no sidecar watches the Secret"},
		{"perhaps selected", func(d *status.Document) {
			d.Secrets, d.Watches[0] = nil,
				status.Watch{Name: "selector"}
		}, "is down"},
	} {
		tally := newTestTally(t, bySelector, runningPod("a", "secret-sync"))
		d := done("a", "")
		c.change(d)
		if tally.answer(tally.due(start, 1)[0], d, nil, start, 0); tally.history.ended != nil {
			t.Errorf("%s: %v", c.name, tally.history.ended)
		}
		state := tally.states(start)[0]
		wantText(t, c.name, state.Reason, c.want)
		if state.Done != (c.want == "") || tally.complete(start) != state.Done {
			t.Errorf("%s: got done %v, complete %v", c.name, state.Done, tally.complete(start))
		}
	}
}

// TestTally_confirm: the last list confirms the result only if each grace ended before the list began,
// and if it contains no other Pod.
func TestTally_confirm(t *testing.T) {
	a, end := runningPod("a", "s"), start.Add(bySelector.StartGrace)
	for _, c := range []struct {
		name  string
		pods  []pod
		began time.Time
		want  bool
	}{
		{"too early", []pod{a, unstartedPod("b")}, end.Add(-1), false},
		{"another Pod", []pod{a, unstartedPod("b"), runningPod("c", "s")}, end, false},
		{"the same Pods", []pod{a, unstartedPod("b")}, end, true},
	} {
		tally := newTestTally(t, bySelector, a, unstartedPod("b"))
		tally.answer(tally.due(start, 1)[0], done("a", "s"), nil, start, 0)
		if !tally.complete(end) || tally.confirm(toPointers(c.pods), c.began) != c.want {
			t.Errorf("%s: got %v", c.name, !c.want)
		}
	}
}

// TestTally_twoSidecars: each container must answer itself, and the reason names it.
func TestTally_twoSidecars(t *testing.T) {
	tally := newTestTally(t, bySelector, runningPod("a", "one", "two"))
	queries := tally.due(start, 9)
	tally.answer(queries[0], done("a", "one"), nil, start, 0)
	for _, same := range []func(*status.Document){
		func(d *status.Document) { d.Volume = "another" },
		func(d *status.Document) { d.Instance = "another" },
	} {
		again := done("a", "one")
		same(again)
		tally.answer(queries[1], again, nil, start, 0)
		wantText(t, "the same sidecar", tally.states(start)[0].Reason,
			"container two: the sidecar of container one answers in its place")
	}
	tally.answer(queries[1], done("a", "two"), nil, start, 0)
	if !tally.complete(start) {
		t.Errorf("got %+v, want both done", tally.states(start))
	}
}

// TestTally_metadata: after a change of the metadata, a sidecar that is done is asked again,
// until it proves that the data did not change.
func TestTally_metadata(t *testing.T) {
	tally := newTestTally(t, bySelector, runningPod("a", "s"))
	q := tally.due(start, 1)[0]
	tally.answer(q, done("a", "s"), nil, start, 0)
	if tally.history.read(reading{uid: "u", version: "3"}); tally.complete(start) || len(tally.due(start, 1)) != 1 {
		t.Fatalf("complete is %v, want another query", tally.complete(start))
	}
	later := done("a", "s")
	s := later.Secrets["db"]
	s.ResourceVersion = "3"
	later.Secrets["db"] = s
	if tally.answer(q, later, nil, start, 0); !tally.complete(start) || len(tally.due(start, 1)) != 0 {
		t.Errorf("got %+v, want done", tally.states(start))
	}
}

// TestTally_unnotified: a Pod is done without a target, and the state says so, or the Pod cannot become done with
// RequireNotified. This is not said of Pods with a target, with missing files, with an app that will read the files
// when it starts, or without a sidecar.
func TestTally_unnotified(t *testing.T) {
	missing := done("a", "s")
	missing.Complete = false
	for _, c := range []struct {
		name           string
		change         func(*pod)
		answer         *status.Document
		done, required bool // required: with RequireNotified
		unnotified     bool
	}{
		{"no target", func(*pod) {}, done("a", "s"), true, false, true},
		{"a target", func(*pod) {}, done("a", "s", target("webhook", 3)), true, true, false},
		{"files missing", func(*pod) {}, missing, false, false, false},
		{"the app has not started", func(p *pod) { p.appUnstarted = true }, done("a", "s"), true, true, false},
		{"created later", func(p *pod) {
			*p = pod{PodState: PodState{UID: "a", Created: start}, bound: true, uses: []use{{"reads it", true}}}
		}, nil, true, true, false},
	} {
		for _, require := range []bool{false, true} {
			rules, p, end := bySelector, runningPod("a", "s"), start.Add(bySelector.StartGrace)
			c.change(&p)
			rules.RequireNotified = require
			tally := newTestTally(t, rules, p)
			for _, q := range tally.due(start, 1) {
				tally.answer(q, c.answer, nil, start, 0)
			}
			want := c.done
			if require {
				want = c.required
			}
			if s := tally.states(end)[0]; s.Unnotified != c.unnotified || s.Done != want ||
				s.Final != (require && c.unnotified) {
				t.Errorf("%s, required is %v: got %+v", c.name, require, s)
			}
		}
	}
}

// TestTally_due: sidecars are asked in the order of their waiting, and after a pause.
func TestTally_due(t *testing.T) {
	tally := newTestTally(t, bySelector, runningPod("a", "s"), runningPod("b", "s"), runningPod("c", "s"))
	first := tally.due(start, 2)
	if len(first) != 2 || first[0].UID != "a" {
		t.Fatalf("got %d Pods, want 2, by name", len(first))
	}
	tally.answer(first[0], nil, errLost, start, time.Second)
	if again := tally.due(start, 2); len(again) != 1 || again[0].UID != "c" {
		t.Errorf("got %d Pods, want the third", len(again))
	}
	if early := tally.due(start.Add(time.Second-1), 2); len(early) != 0 {
		t.Errorf("got %d Pods, want the first in a second", len(early))
	}
	if later := tally.due(start.Add(time.Second), 2); len(later) != 1 || later[0].UID != "a" {
		t.Errorf("got %d Pods, want the first again", len(later))
	}
}

// TestWaiter_pause: queries through the API server are limited to 500 per second, and
// queries of the Pods are not.
func TestWaiter_pause(t *testing.T) {
	for _, c := range []struct {
		direct bool
		pods   int
		want   time.Duration
	}{{true, 5000, minPause}, {false, 1, minPause}, {false, 100, 200 * time.Millisecond}, {false, 5000,
		10 * time.Second}} {
		w := &waiter{Options: &Options{Direct: c.direct}, scopes: []*scope{{tally: newTally(Rules{}, "", "")}},
			began: time.Now()}
		for i := range c.pods {
			w.scopes[0].pods[fmt.Sprint(i)] = &pod{}
		}
		if got := w.pause(); got != c.want {
			t.Errorf("direct is %v, %d Pods: got %v, want %v", c.direct, c.pods, got, c.want)
		}
	}
}
