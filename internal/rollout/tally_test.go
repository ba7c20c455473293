package rollout

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/status"
)

// done is an answer that is a yes for version 2.
func done(targets ...status.Target) *status.Document {
	return &status.Document{Generation: 3, Targets: targets, Secrets: map[string]status.Secret{
		"db": {Present: true, UID: "u", ResourceVersion: "2", Generation: 3},
	}}
}

func newTestTally(ignoreOthers bool, pods ...pod) *tally {
	t := newTally(Version{Secret: "db", UID: "u", ResourceVersion: "2"}, ignoreOthers, 5*time.Second)
	t.list(pods)
	return t
}

func TestNoPodIsNotAYes(t *testing.T) {
	pending := modelPod{uid: "a"}.object()
	now := time.Unix(1, 0)
	if newTestTally(false).complete(now) || newTestTally(false, pending).complete(now) {
		t.Error("complete without a Pod that counts")
	}
}

func TestWithoutSidecar(t *testing.T) {
	var other pod
	other.Metadata.Name, other.Metadata.UID, other.Status.Phase = "other", "o", "Running"
	good := modelPod{uid: "a", running: true}.object()
	now := time.Unix(1, 0)
	for _, ignore := range []bool{false, true} {
		tally := newTestTally(ignore, other, good)
		tally.answer("a", done(), nil, now, 0)
		if got := tally.complete(now); got != ignore {
			t.Errorf("ignoring others is %v: complete is %v", ignore, got)
		}
		if got := tally.withoutSidecar() != ""; got == ignore {
			t.Errorf("ignoring others is %v: got %q without the sidecar", ignore, tally.withoutSidecar())
		}
	}
	other.Metadata.DeletionTimestamp = "now" // it will be gone
	if tally := newTestTally(false, other, good); tally.withoutSidecar() != "" || tally.complete(now) {
		t.Error("a Pod that is being deleted: want to wait for its end")
	}
}

func TestSignalGrace(t *testing.T) {
	now := time.Unix(1000, 0)
	for target, want := range map[string]time.Duration{
		"process": 5 * time.Second, "process/nginx": 5 * time.Second, "pidfile/1": 5 * time.Second, "webhook": 0, "exec": 0,
	} {
		tally := newTestTally(false, modelPod{uid: "a", running: true}.object())
		tally.answer("a", done(status.Target{Name: target, Notified: 3}), nil, now, 0)
		if !tally.complete(now.Add(want)) {
			t.Errorf("%s: no yes after %s", target, want)
		}
		if want > 0 && tally.confirm([]pod{modelPod{uid: "a", running: true}.object()}, now.Add(want-1)) {
			t.Errorf("%s: a yes within the grace", target)
		}
	}
}

func TestAnotherPodAnswers(t *testing.T) {
	tally := newTestTally(false, modelPod{uid: "a", running: true}.object())
	d := done()
	d.Pod = "pod-b"
	tally.answer("a", d, nil, time.Unix(1, 0), 0)
	if tally.complete(time.Unix(1, 0)) {
		t.Error("the answer of another Pod at its address counts")
	}
}

func TestDue(t *testing.T) {
	var pods []pod
	for _, uid := range []string{"a", "b", "c"} {
		pods = append(pods, modelPod{uid: uid, running: true}.object())
	}
	tally := newTestTally(false, pods...)
	now := time.Unix(1000, 0)
	if first := tally.due(now, 2); len(first) != 2 || first[0].Metadata.UID != "a" {
		t.Fatalf("got %d Pods, want 2, by name", len(first))
	}
	tally.answer("a", &status.Document{}, nil, now, time.Second)
	if again := tally.due(now, 2); len(again) != 1 || again[0].Metadata.UID != "c" {
		t.Errorf("got %d Pods, want the third", len(again))
	}
	if early := tally.due(now.Add(time.Second-1), 2); len(early) != 0 {
		t.Errorf("got %d Pods, want the first one in a second", len(early))
	}
	if later := tally.due(now.Add(time.Second), 2); len(later) != 1 || later[0].Metadata.UID != "a" {
		t.Errorf("got %d Pods, want the first again", len(later))
	}
}

// TestWhatDoesNotCount: a Pod that has not started, has ended or is gone keeps back no
// yes, and is none of the Pods of the result.
func TestWhatDoesNotCount(t *testing.T) {
	good := modelPod{uid: "a", running: true}.object()
	pending, other := modelPod{uid: "b"}.object(), modelPod{uid: "b", running: true}.object()
	failed := other
	failed.Status.Phase = "Failed"
	tally := newTestTally(false, good)
	tally.answer("a", done(), nil, time.Unix(1, 0), 0)
	for _, step := range []struct {
		name  string
		kind  watch.EventType
		pod   pod
		count int
	}{
		{"not started", watch.Added, pending, 1},
		{"started", watch.Modified, other, 2},
		{"failed", watch.Modified, failed, 1},
		{"started", watch.Modified, other, 2},
		{"a bookmark", watch.Bookmark, pod{}, 2},
		{"gone", watch.Deleted, other, 1},
	} {
		tally.apply(kube.Event[pod]{Type: step.kind, Object: step.pod})
		if got := len(tally.states()); got != step.count || tally.complete(time.Unix(1, 0)) != (got == 1) {
			t.Errorf("%s: got %d Pods, complete is %v, want %d Pods", step.name, got, got != 1, step.count)
		}
	}
}

// TestGoneFromTheList: what a list does not have is gone, and what it has keeps what
// is known of it.
func TestGoneFromTheList(t *testing.T) {
	good, other := modelPod{uid: "a", running: true}.object(), modelPod{uid: "b", running: true}.object()
	now := time.Unix(1, 0)
	tally := newTestTally(false, good, other)
	tally.answer("a", done(), nil, now, 0)
	if tally.confirm([]pod{good, other}, now) {
		t.Error("a yes without the answer of a Pod")
	}
	if !tally.confirm([]pod{good}, now) || len(tally.states()) != 1 {
		t.Errorf("got %+v, want a yes of the Pod that is left", tally.states())
	}
}

// TestPace: Pods are asked through the API server with 500 requests a second at most,
// however many there are, and at their addresses as often as without others.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		direct bool
		pods   int
		want   time.Duration
	}{{true, 5000, minPause}, {false, 1, minPause}, {false, 100, 200 * time.Millisecond}, {false, 5000, 10 * time.Second}} {
		w := &waiter{Options: Options{Direct: c.direct}, tally: newTestTally(false), began: time.Now()}
		for i := range c.pods {
			w.tally.pods[fmt.Sprint(i)] = &candidate{}
		}
		if got := w.pause(); got != c.want {
			t.Errorf("direct is %v, %d Pods: got %v, want %v", c.direct, c.pods, got, c.want)
		}
	}
}
