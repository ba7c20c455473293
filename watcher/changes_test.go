package watcher

import (
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

// TestChanges_largeSecret: a list and events deliver a Secret of 1 MB.
func TestChanges_largeSecret(t *testing.T) {
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

// TestList_unrelatedObjects: a list may contain objects nobody requested. The watch ignores them.
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
}
