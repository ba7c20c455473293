package rollout

import (
	"testing"
	"time"
)

// TestTally_selectAll: without a selector the users of the Secret count, and no other Pod.
func TestTally_selectAll(t *testing.T) {
	reader := runningPod("reader")
	reader.uses = []use{{text: "container job reads it into PASSWORD at start", atStart: true}}
	tally := newTestTally(t, Rules{}, runningPod("a", "s"), runningPod("none"), runningPod("b", "s"), reader)
	if n := len(tally.pods); n != 3 {
		t.Fatalf("got %d Pods, want those with a sidecar that may watch the Secret, and the reader", n)
	}
	queries := tally.due(start, 9)
	if len(queries) != 2 {
		t.Fatalf("got %d queries, want 2", len(queries))
	}
	notWatching := done("b", "s")
	notWatching.Secrets, notWatching.Watches = nil, nil
	tally.answer(queries[0], done("a", "s"), nil, start, 0)
	tally.answer(queries[1], notWatching, nil, start, 0)
	states := tally.states(start)
	if len(states) != 2 || !states[0].Done || states[1].Done || !states[1].Final ||
		states[1].Reason != reader.uses[0].text {
		t.Fatalf("got %+v, want Pod a done, and the reader not", states)
	}
	reader.Created = start
	if tally.store(fresh(reader), start); !tally.complete(start) {
		t.Errorf("the reader was created after the change: got %+v", tally.states(start))
	}
}

// TestTally_ignoreOthers: Pods without the sidecar count unless they are ignored.
func TestTally_ignoreOthers(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		rules := bySelector
		rules.IgnoreOthers = ignore
		mixed := runningPod("a", "s")
		mixed.uses = []use{{text: "volume v"}}
		tally := newTestTally(t, rules, mixed, runningPod("other"))
		tally.answer(tally.due(start, 1)[0], done("a", "s"), nil, start, 0)
		if tally.complete(start) != ignore || tally.final(start) == ignore {
			t.Errorf("ignore is %v: got %+v", ignore, tally.states(start))
		}
	}
	deleted := runningPod("other")
	deleted.deleting = true // it will be gone
	if tally := newTestTally(t, bySelector, deleted); tally.final(start) || tally.complete(start) {
		t.Error("a Pod that is being deleted: want to wait for its end")
	}
}

// TestTally_noSidecar: with a selector, a Pod without a sidecar that may watch the Secret
// prevents success, and it cannot become done.
func TestTally_noSidecar(t *testing.T) {
	tally := newTestTally(t, bySelector, runningPod("a", "s"), runningPod("other"))
	tally.answer(tally.due(start, 1)[0], done("a", "s"), nil, start, 0)
	states := tally.states(start)
	if len(states) != 2 || states[1].Done || !states[1].Final || states[1].Reason != "no sidecar watches the Secret" ||
		tally.complete(start) || !tally.final(start) {
		t.Errorf("got %+v, want the second Pod to prevent success", states)
	}
}

// TestTally_noPod: without a Pod that counts there is no success.
func TestTally_noPod(t *testing.T) {
	if newTestTally(t, bySelector).complete(start) || newTestTally(t, bySelector,
		unstartedPod("a")).complete(start.Add(time.Hour)) {
		t.Error("complete without a Pod that counts")
	}
}

// TestTally_pods: a Pod that has ended or is gone does not count.
func TestTally_pods(t *testing.T) {
	tally := newTestTally(t, bySelector, runningPod("a", "s"))
	tally.answer(tally.due(start, 1)[0], done("a", "s"), nil, start, 0)
	b := runningPod("b", "s")
	ended := b
	ended.bound = false
	for _, step := range []struct {
		name   string
		change func()
		count  int
	}{
		{"appeared", func() { tally.store(fresh(b), start) }, 2},
		{"ended", func() { tally.store(fresh(ended), start) }, 1},
		{"appeared", func() { tally.store(fresh(b), start) }, 2},
		{"gone", func() { delete(tally.pods, "b") }, 1},
		{"appeared", func() { tally.store(fresh(b), start) }, 2},
		{"not in a list", func() { tally.replace(toPointers([]pod{runningPod("a", "s")}), start) }, 1},
	} {
		step.change()
		if got := len(tally.states(start)); got != step.count || tally.complete(start) != (got == 1) {
			t.Errorf("%s: got %d Pods, complete is %v, want %d Pods", step.name, got, tally.complete(start), step.count)
		}
	}
}
