package watcher

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/status"
)

// TestChanges applies a sequence of changes to Secrets watched by name and by selector.
func TestChanges(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	web, api := labels.Set{"app": "web"}, labels.Set{"app": "api"}
	a.setSecret("db", "1", "", web) // named and selected
	a.setSecret("tls", "1", "", web)
	a.setSecret("other", "1", "", api)
	r := start(t, Options{Config: a.config(""), Names: []string{"db", "db"}, Selector: "app=web"})
	for _, step := range []struct {
		name string
		do   func()
		want map[string]string
	}{
		{"initial state", func() {}, map[string]string{"db": "1", "tls": "1"}},
		{"new value", func() { a.setSecret("tls", "2", "", web) }, map[string]string{"db": "1", "tls": "2"}},
		{"new Secret", func() { a.setSecret("new", "1", "", web) },
			map[string]string{"db": "1", "tls": "2", "new": "1"}},
		{"named Secret stops matching", func() { a.setSecret("db", "2", "", api) },
			map[string]string{"db": "2", "tls": "2", "new": "1"}},
		{"selected Secret stops matching", func() { a.setSecret("tls", "2", "", api) },
			map[string]string{"db": "2", "new": "1"}},
		{"selected Secret matches again", func() { a.setSecret("tls", "3", "", web) },
			map[string]string{"db": "2", "tls": "3", "new": "1"}},
		{"deleted", func() { a.remove("db") }, map[string]string{"tls": "3", "new": "1"}},
		{"recreated", func() { a.setSecret("db", "3", "uid-2", web) },
			map[string]string{"db": "3", "tls": "3", "new": "1"}},
		{"deleted during an outage", func() {
			a.fault(abort)
			a.endWatches()
			r.wait("down", 5*time.Second, func() bool { return !r.up("selector") && !r.up("secret/db") })
			a.remove("new")
			a.remove("db")
			a.fault(nil)
		}, map[string]string{"tls": "3"}},
	} {
		step.do()
		r.wait(step.name, 11*time.Second, func() bool {
			got := map[string]string{}
			for name := range r.Snapshot().Secrets {
				got[name] = r.value(name)
			}
			return maps.Equal(got, step.want) && len(r.Snapshot().Unsynced) == 0
		})
	}
}

// TestSelector_namedSecret: if a Secret is both named and selected, it comes from its
// own watch, even if only the selector's watch is synced.
func TestSelector_namedSecret(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	set := labels.Set{"app": "web"}
	a.setSecret("db", "1", "", set)
	a.setSecret("tls", "1", "", set)
	broken := errorAnswer(500, metav1.StatusReasonInternalError, "no")
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Query().Has("fieldSelector") && broken(w, r)
	})
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}, Selector: "app=web"})
	r.wait("tls", 5*time.Second, func() bool { return r.value("tls") == "1" })
	if got := r.Snapshot(); len(got.Secrets) != 1 || !got.Unsynced["secret/db"] || got.Unsynced[SelectorWatch] {
		t.Errorf("got %d Secrets, not synced: %v; want 1 Secret, not synced: secret/db", len(got.Secrets), got.Unsynced)
	}
	a.fault(nil)
	r.waitValue("db", "1", 11*time.Second)
}

// TestChanged_recreated: a Secret with the same data and another UID is a change.
func TestChanged_recreated(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.waitValue("db", "1", 5*time.Second)
	r.wait("first poke", time.Second, r.poked)
	a.setSecret("db", "1", "uid-2", nil)
	r.wait("poke", 5*time.Second, r.poked)
	if got := r.Snapshot().Secrets["db"].UID; got != "uid-2" {
		t.Errorf("uid: got %q, want uid-2", got)
	}
}

// TestChanged_labelsOnly: a change of labels updates the version without a poke. A new
// list with the same Secrets is not a change either.
func TestChanged_labelsOnly(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.waitValue("db", "1", 5*time.Second)
	r.wait("first poke", time.Second, r.poked)
	before := r.Snapshot()
	a.setSecret("db", "1", "", labels.Set{"app": "web"})
	r.wait("version 102", 5*time.Second, func() bool { return r.Snapshot().Secrets["db"].ResourceVersion == "102" })
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
	a.endWatches()
	r.wait("another list", 5*time.Second, func() bool { return len(a.received("watch")) == 2 })
	if r.poked() {
		t.Error("poked without a change")
	}
	if got := before.Secrets["db"].ResourceVersion; got != "101" {
		t.Errorf("an existing Snapshot changed: version %s, want 101", got)
	}
}

// TestList_restoredBackup: a list is authoritative, even if its version is lower than the
// stored version, as after a restore of etcd.
func TestList_restoredBackup(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	backup := a.secrets["db"].DeepCopy()
	a.setSecret("db", "2", "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.waitValue("db", "2", 5*time.Second)
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
	a.mu.Lock()
	a.version, a.secrets["db"], a.history = 50, backup, nil
	a.mu.Unlock()
	a.endWatches()
	r.waitValue("db", "1", 5*time.Second)
	r.wait("watch", 5*time.Second, func() bool {
		return strings.Contains(slices.Concat(a.received("watch"), []string{""})[1], "resourceVersion=50")
	})
	a.setSecret("db", "3", "", nil)
	r.waitValue("db", "3", 5*time.Second)
}

// TestLargeSecret: a list and events deliver a Secret of 1 MB.
func TestLargeSecret(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	large := strings.Repeat("x", 1<<20)
	a.setSecret("db", large, "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	for i, end := range []string{"", "a", "b", "c"} {
		if i > 0 {
			a.setSecret("db", large+end, "", nil)
		}
		version := strconv.Itoa(101 + i)
		r.wait(version, 20*time.Second, func() bool { return r.Snapshot().Secrets["db"].ResourceVersion == version })
		if r.value("db") != large+end {
			t.Errorf("version %s: wrong value", version)
		}
	}
}

// TestList_unrelatedObjects: a list may contain objects nobody requested. The watch
// ignores them and logs a single warning.
func TestList_unrelatedObjects(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	a.setSecret("other", "1", "", nil)
	list := func() corev1.SecretList {
		a.mu.Lock()
		defer a.mu.Unlock()
		foreign := *a.secrets["db"]
		foreign.Namespace = "elsewhere"
		return corev1.SecretList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"},
			ListMeta: metav1.ListMeta{ResourceVersion: "102"},
			Items:    []corev1.Secret{foreign, *a.secrets["other"]},
		}
	}()
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}, Selector: "app=web"})
	r.waitValue("db", "1", 5*time.Second)
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") && r.up("selector") })
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		if isWatch(r) {
			return false
		}
		reply(w, 200, list)
		return true
	})
	a.endWatches()
	r.wait("db is gone", 5*time.Second, func() bool { return len(r.Snapshot().Secrets) == 0 })
	r.wait("more lists", 10*time.Second, func() bool { a.endWatches(); return len(a.received("list")) > 5 })
	if got := strings.Count(r.logs.String(), "does not match the request"); got != 2 {
		t.Errorf("got %d warnings, want a warning per watch:\n%s", got, r.logs)
	}
}

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
	w := newWatch(newShared(&script{}, nil, slog.New(slog.DiscardHandler)), query, selector)
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
