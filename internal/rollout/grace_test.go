package rollout

import (
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

// unstartedPod returns a Pod without a started container.
func unstartedPod(uid string) pod {
	p := runningPod(uid, "s")
	p.unstarted, p.appUnstarted = true, true
	return p
}

// TestTally_startGrace: a Pod without a started container counts for a grace after the wait first saw
// it. A later event does not begin the grace again.
func TestTally_startGrace(t *testing.T) {
	tally := newTestTally(t, bySelector, unstartedPod("a"))
	tally.store(fresh(unstartedPod("a")), start.Add(bySelector.StartGrace/2))
	for after, want := range map[time.Duration]int{0: 1, bySelector.StartGrace - 1: 1, bySelector.StartGrace: 0} {
		if got := len(tally.states(start.Add(after))); got != want {
			t.Errorf("after %v: got %d Pods, want %d", after, got, want)
		}
	}
}

// TestTally_appUnstarted: an app that never started needs the files and no notification. The Pod is
// done a grace after its files are in place. If the files are missing again, the grace begins again.
func TestTally_appUnstarted(t *testing.T) {
	p := runningPod("a", "s")
	p.appUnstarted = true
	tally := newTestTally(t, bySelector, p)
	q := tally.due(start, 1)[0]
	inPlace, missing := done("a", "s", target("webhook", 2)), done("a", "s")
	missing.Complete = false
	for at, d := range []*status.Document{missing, inPlace, missing, inPlace} {
		now := start.Add(time.Duration(at) * 2 * bySelector.StartGrace)
		tally.answer(q, d, nil, now, 0)
		end := now.Add(bySelector.StartGrace)
		if tally.complete(now) || tally.complete(end.Add(-1)) || tally.complete(end) != (d == inPlace) {
			t.Errorf("answer %d: got complete %v, %v, %v", at, tally.complete(now), tally.complete(end.Add(-1)),
				tally.complete(end))
		}
	}
}

// TestTally_signalGrace: after a signal the sidecar is asked again, a grace later, and after
// a further signal the grace begins again.
func TestTally_signalGrace(t *testing.T) {
	for name, want := range map[string]time.Duration{
		"process": 5 * time.Second, "process/nginx": 5 * time.Second, "pidfile/1": 5 * time.Second,
		"webhook": 0, "exec": 0,
	} {
		tally := newTestTally(t, bySelector, runningPod("a", "s"))
		q := tally.due(start, 1)[0]
		d := done("a", "s", target(name, 3))
		tally.answer(q, d, nil, start, 0)
		if tally.complete(start) != (want == 0) {
			t.Errorf("%s: got complete %v", name, want != 0)
		}
		if want == 0 {
			continue
		}
		if len(tally.due(start.Add(want-1), 1)) != 0 || tally.complete(start.Add(time.Hour)) {
			t.Errorf("%s: done without a second answer", name)
		}
		d.Targets[0].Successes++
		tally.answer(q, d, nil, start.Add(want), 0)
		if tally.complete(start.Add(want)) {
			t.Errorf("%s: done right after another signal", name)
		}
		if tally.answer(q, d, nil, start.Add(2*want), 0); !tally.complete(start.Add(2 * want)) {
			t.Errorf("%s: got %+v, want done", name, tally.states(start))
		}
	}
}

// TestTally_observing: without a grace, the process must still survive its signal.
func TestTally_observing(t *testing.T) {
	tally := newTestTally(t, Rules{Selector: "app=shop"}, runningPod("a", "s"))
	q := tally.due(start, 1)[0]
	d := done("a", "s", target("process", 3))
	for _, d.Targets[0].Observing = range []bool{true, false} {
		if tally.answer(q, d, nil, start, 0); tally.complete(start) == d.Targets[0].Observing {
			t.Errorf("observing = %v: got %+v", d.Targets[0].Observing, tally.states(start))
		}
	}
}

// TestTally_startedStays: a Pod that has started counts, even if the kubelet forgets it.
func TestTally_startedStays(t *testing.T) {
	tally := newTestTally(t, bySelector, runningPod("a", "s"))
	tally.store(fresh(unstartedPod("a")), start) // the kubelet has forgotten it
	if n := len(tally.states(start.Add(time.Hour))); n != 1 {
		t.Errorf("got %d Pods, want 1", n)
	}
}
