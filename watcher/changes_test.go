package watcher

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	apiwatch "k8s.io/apimachinery/pkg/watch"
)

// TestChanges follows one named Secret and a selector through what happens to
// Secrets in a day.
func TestChanges(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	web, api := labels.Set{"app": "web"}, labels.Set{"app": "api"}
	a.put("db", "1", "", web) // named and selected
	a.put("tls", "1", "", web)
	a.put("other", "1", "", api)
	r := start(t, Options{Config: a.config(""), Names: []string{"db", "db"}, Selector: "app=web"})
	for _, step := range []struct {
		name string
		do   func()
		want map[string]string
	}{
		{"start", func() {}, map[string]string{"db": "1", "tls": "1"}},
		{"a value", func() { a.put("tls", "2", "", web) }, map[string]string{"db": "1", "tls": "2"}},
		{"one more", func() { a.put("new", "1", "", web) }, map[string]string{"db": "1", "tls": "2", "new": "1"}},
		{"named leaves the selector", func() { a.put("db", "2", "", api) }, map[string]string{"db": "2", "tls": "2", "new": "1"}},
		{"selected leaves the selector", func() { a.put("tls", "2", "", api) }, map[string]string{"db": "2", "new": "1"}},
		{"and comes back", func() { a.put("tls", "3", "", web) }, map[string]string{"db": "2", "tls": "3", "new": "1"}},
		{"deleted", func() { a.remove("db") }, map[string]string{"tls": "3", "new": "1"}},
		{"recreated", func() { a.put("db", "3", "uid-2", web) }, map[string]string{"db": "3", "tls": "3", "new": "1"}},
		{"deleted while away", func() {
			a.fault(abort)
			a.endWatches()
			r.wait("down", 5*time.Second, func() bool { return !r.up("selector") && !r.up("secret/db") })
			a.remove("new")
			a.remove("db")
			a.fault(nil)
		}, map[string]string{"tls": "3"}},
	} {
		step.do()
		got := func() map[string]string {
			values := map[string]string{}
			for name := range r.Snapshot().Secrets {
				values[name] = r.value(name)
			}
			return values
		}
		r.wait(step.name, 11*time.Second, func() bool { return maps.Equal(got(), step.want) && len(r.Snapshot().Unanswered) == 0 })
	}
}

// TestNamedIsFromItsOwnWatch: while that has no answer, the selector's is not
// taken for a Secret that is both named and selected.
func TestNamedIsFromItsOwnWatch(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	set := labels.Set{"app": "web"}
	a.put("db", "1", "", set)
	a.put("tls", "1", "", set)
	broken := status(500, metav1.StatusReasonInternalError, "no")
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Query().Has("fieldSelector") && broken(w, r)
	})
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}, Selector: "app=web"})
	r.wait("tls", 5*time.Second, func() bool { return r.value("tls") == "1" })
	if got := r.Snapshot(); len(got.Secrets) != 1 || !got.Unanswered["secret/db"] || got.Unanswered[SelectorWatch] {
		t.Errorf("got %d Secrets, unanswered %v; want one and secret/db", len(got.Secrets), got.Unanswered)
	}
	a.fault(nil)
	r.has("db", "1", 11*time.Second)
}

// TestRecreatedIsAChange: the same content with another uid is another Secret.
func TestRecreatedIsAChange(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.has("db", "1", 5*time.Second)
	r.wait("first poke", time.Second, r.poked)
	a.put("db", "1", "uid-2", nil)
	r.wait("poke", 5*time.Second, r.poked)
	if got := r.Snapshot().Secrets["db"].UID; got != "uid-2" {
		t.Errorf("uid: got %q, want uid-2", got)
	}
}

// TestLabelsAloneAreNoChange: the version moves on, without a poke. Nor is a new list
// with the same in it a change.
func TestLabelsAloneAreNoChange(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.has("db", "1", 5*time.Second)
	r.wait("first poke", time.Second, r.poked)
	before := r.Snapshot()
	a.put("db", "1", "", labels.Set{"app": "web"})
	r.wait("version 102", 5*time.Second, func() bool { return r.Snapshot().Secrets["db"].ResourceVersion == "102" })
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
	a.endWatches()
	r.wait("another list", 5*time.Second, func() bool { return len(a.asked("watch")) == 2 })
	if r.poked() {
		t.Error("poked, and nothing had changed")
	}
	if got := before.Secrets["db"].ResourceVersion; got != "101" {
		t.Errorf("a snapshot changed after it was handed out: version %s, want 101", got)
	}
}

// TestVersionsGoBack: etcd was restored from a backup. What a list answers then
// is followed, however low its version is.
func TestVersionsGoBack(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	backup := a.secrets["db"].DeepCopy()
	a.put("db", "2", "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.has("db", "2", 5*time.Second)
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
	a.mu.Lock()
	a.version, a.secrets["db"], a.history = 50, backup, nil
	a.mu.Unlock()
	a.endWatches()
	r.has("db", "1", 5*time.Second)
	r.wait("watch", 5*time.Second, func() bool {
		return strings.Contains(slices.Concat(a.asked("watch"), []string{""})[1], "resourceVersion=50")
	})
	a.put("db", "3", "", nil)
	r.has("db", "3", 5*time.Second)
}

// TestLargeSecret: 1 MB, as a list and as events, and annotations that are
// dropped.
func TestLargeSecret(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	large := strings.Repeat("x", 1<<20)
	a.put("db", large, "", nil)
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	for i, end := range []string{"", "a", "b", "c"} {
		if i > 0 {
			a.put("db", large+end, "", nil)
		}
		version := strconv.Itoa(101 + i)
		r.wait(version, 20*time.Second, func() bool { return r.Snapshot().Secrets["db"].ResourceVersion == version })
		if r.value("db") != large+end {
			t.Errorf("version %s: the value is another", version)
		}
	}
}

// TestNotAskedFor: what was not asked for is not taken, and logged once.
func TestNotAskedFor(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	a.put("other", "1", "", nil)
	list := func() corev1.SecretList {
		a.mu.Lock()
		defer a.mu.Unlock()
		foreign := *a.secrets["db"]
		foreign.Namespace = "elsewhere"
		return corev1.SecretList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"}, ListMeta: metav1.ListMeta{ResourceVersion: "102"},
			Items: []corev1.Secret{foreign, *a.secrets["other"]}}
	}()
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}, Selector: "app=web"})
	r.has("db", "1", 5*time.Second)
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
	r.wait("more lists", 10*time.Second, func() bool { a.endWatches(); return len(a.asked("list")) > 5 })
	if got := strings.Count(r.logs.String(), "not asked for"); got != 2 {
		t.Errorf("got %d warnings, want one of each watch:\n%s", got, r.logs)
	}
}

// TestListWithoutItIsAChange: a Secret that was deleted while nothing was heard
// of the API server is missing from the next list.
func TestListWithoutItIsAChange(t *testing.T) {
	pokes := 0
	w := newWatch(oneName("ns", "db"), &script{}, &sync.Mutex{}, func() { pokes++ }, slog.New(slog.DiscardHandler))
	one := object{metadata: metadata{Namespace: "ns", Name: "db"}}
	for i, step := range []struct {
		items []object
		pokes int
	}{{nil, 1}, {nil, 1}, {[]object{one}, 2}, {[]object{one}, 2}, {nil, 3}} {
		w.replace(step.items)
		if pokes != step.pokes {
			t.Errorf("list %d: got %d pokes, want %d", i, pokes, step.pokes)
		}
	}
}

// TestDeletedElsewhere: the event of another namespace's Secret of that name does not
// delete ours.
func TestDeletedElsewhere(t *testing.T) {
	pokes := 0
	w := newWatch(oneName("ns", "db"), &script{}, &sync.Mutex{}, func() { pokes++ }, slog.New(slog.DiscardHandler))
	w.replace([]object{{metadata: metadata{Namespace: "ns", Name: "db"}}})
	for _, namespace := range []string{"elsewhere", "ns"} {
		w.apply(event{Type: apiwatch.Deleted, Object: object{metadata: metadata{Namespace: namespace, Name: "db"}}})
		if got, want := len(w.secrets) == 0, namespace == "ns"; got != want || want != (pokes == 2) {
			t.Errorf("an event of namespace %q: deleted: got %v, want %v; %d pokes", namespace, got, want, pokes)
		}
	}
}
