package watcher

import (
	"log/slog"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/status"
)

// takePokes removes the poke of Changed, if any, and returns the number of pokes.
func (w *watch) takePokes() int {
	select {
	case <-w.changes:
		return 1
	default:
		return 0
	}
}

// TestReplace_pokes: the first list, a new Secret and a missing Secret are changes.
func TestReplace_pokes(t *testing.T) {
	w := newIdleWatch()
	db := []object{{metadata: metadata{Namespace: "ns", Name: "db"}}}
	for i, step := range []struct {
		items []object
		pokes int
	}{{nil, 1}, {nil, 0}, {db, 1}, {db, 0}, {nil, 1}} {
		w.replace(step.items)
		if got := w.takePokes(); got != step.pokes {
			t.Errorf("list %d: got %d pokes, want %d", i, got, step.pokes)
		}
	}
}

// TestApply_unselected: an event whose labels do not match the selector is ignored, except
// for the deletion of a stored Secret.
func TestApply_unselected(t *testing.T) {
	selector := labels.SelectorFromSet(labels.Set{"app": "web"})
	query := kube.Query{Resource: kube.Secrets, Namespace: "ns", Selector: selector.String()}
	w := newWatch(newTestWatcher(&script{}, slog.New(slog.DiscardHandler)), query, selector)
	web, other := map[string]string{"app": "web"}, map[string]string{"app": "other"}
	w.replace([]object{{metadata: metadata{Namespace: "ns", Name: "a", ResourceVersion: "1", Labels: web}}})
	for _, kind := range []apiwatch.EventType{apiwatch.Added, apiwatch.Modified} {
		for _, name := range []string{"a", "b"} {
			o := object{metadata: metadata{Namespace: "ns", Name: name, ResourceVersion: "2", Labels: other}}
			w.apply(event{Type: kind, Object: o}, "1")
			if len(w.secrets) != 1 || w.secrets["a"].ResourceVersion != "1" {
				t.Errorf("%s of %q: got %v, want version 1 of a", kind, name, w.secrets)
			}
		}
	}
	deleted := object{metadata: metadata{Namespace: "ns", Name: "a", ResourceVersion: "3", Labels: other}}
	w.apply(event{Type: apiwatch.Deleted, Object: deleted}, "1")
	if len(w.secrets) != 0 {
		t.Errorf("after the deletion: got %v, want none", w.secrets)
	}
}

// TestApply_listed: an event that the list already contains is not applied. A stream that starts
// before a list delivers such events.
func TestApply_listed(t *testing.T) {
	w := newIdleWatch()
	db := object{metadata: metadata{Namespace: "ns", Name: "db", ResourceVersion: "12"}}
	w.replace([]object{db})
	w.takePokes()
	for _, kind := range []apiwatch.EventType{apiwatch.Modified, apiwatch.Deleted} {
		for _, version := range []string{"9", "12"} {
			db.ResourceVersion = version
			w.apply(event{Type: kind, Object: db}, "12")
			if got := w.secrets["db"].ResourceVersion; got != "12" || w.takePokes() != 0 {
				t.Errorf("%s of version %s: got version %q, want 12 and no poke", kind, version, got)
			}
		}
	}
}

// TestApply_otherNamespace: a Deleted event of another namespace does not delete the
// Secret of the same name.
func TestApply_otherNamespace(t *testing.T) {
	w := newIdleWatch()
	w.replace([]object{{metadata: metadata{Namespace: "ns", Name: "db"}}})
	w.takePokes()
	for _, namespace := range []string{"elsewhere", "ns"} {
		deleted := object{metadata: metadata{Namespace: namespace, Name: "db", ResourceVersion: "2"}}
		w.apply(event{Type: apiwatch.Deleted, Object: deleted}, "1")
		pokes := w.takePokes()
		if got, want := len(w.secrets) == 0, namespace == "ns"; got != want || want != (pokes == 1) {
			t.Errorf("event of namespace %q: deleted: got %v, want %v; %d pokes", namespace, got, want, pokes)
		}
	}
}

// TestSecret_history: DataSince and PreviousData contain only versions proved by the
// sidecar. A list after a gap proves nothing about the versions in the gap.
func TestSecret_history(t *testing.T) {
	type step struct {
		source       string // "event", or "list" after a gap
		version      string
		uid, value   string
		wantSince    string
		wantPrevious status.Interval
	}
	interval := func(since, until string) status.Interval { return status.Interval{Since: since, Until: until} }
	none := status.Interval{}
	for name, steps := range map[string][]step{
		"metadata in events": {
			{"list", "5", "u", "a", "5", none}, {"event", "6", "u", "a", "5", none}, {"event", "7", "u", "a", "5",
				none},
		},
		"data in events": {
			{"list", "5", "u", "a", "5", none}, {"event", "6", "u", "a", "5", none},
			{"event", "7", "u", "b", "7", interval("5", "6")}, {"event", "8", "u", "b", "7", interval("5", "6")},
			{"event", "9", "u", "a", "9", interval("7", "8")},
		},
		"the same version in a list": {
			{"list", "5", "u", "a", "5", none}, {"event", "6", "u", "a", "5", none}, {"list", "6", "u", "a", "5", none},
		},
		"equal data after a gap": {
			{"list", "5", "u", "a", "5", none}, {"event", "6", "u", "b", "6", interval("5", "5")},
			{"list", "9", "u", "b", "9", none}, {"event", "10", "u", "b", "9", none},
		},
		"other data after a gap": {
			{"list", "5", "u", "a", "5", none}, {"list", "9", "u", "b", "9", none},
		},
		"recreated": {
			{"list", "5", "u", "a", "5", none}, {"event", "6", "u", "b", "6", interval("5", "5")},
			{"event", "8", "v", "b", "8", none}, {"list", "9", "w", "c", "9", none},
		},
		"restored from a backup": {
			{"list", "5", "u", "a", "5", none}, {"event", "9", "u", "b", "9", interval("5", "5")},
			{"list", "7", "u", "b", "7", none}, {"list", "6", "u", "c", "6", none}, {"list", "6", "u", "d", "6", none},
		},
	} {
		w := newIdleWatch()
		for i, s := range steps {
			o := object{metadata: metadata{Namespace: "ns", Name: "db", UID: s.uid, ResourceVersion: s.version}}
			o.Data = map[string]secret.Value{"k": secret.Value(s.value)}
			if s.source == "list" {
				w.replace([]object{o})
			} else {
				w.apply(event{Type: apiwatch.Modified, Object: o}, "1")
			}
			got := w.secrets["db"]
			if got.ResourceVersion != s.version || got.DataSince != s.wantSince || got.PreviousData != s.wantPrevious {
				t.Errorf("%s: step %d: got version %s, since %s, previous %v, want since %s, previous %v",
					name, i, got.ResourceVersion, got.DataSince, got.PreviousData, s.wantSince, s.wantPrevious)
			}
		}
	}
}
