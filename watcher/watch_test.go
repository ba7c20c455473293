package watcher

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
)

// TestWatch_rate counts the lists of an hour.
func TestWatch_rate(t *testing.T) {
	for _, c := range []struct {
		name     string
		s        script
		min, max int // lists
		up       bool
		warnings int
	}{
		{"refused", script{onList: refused}, 360, 730, false, 1},
		{"watch ends at once", script{ends: true}, 360, 730, false, 1},
		{"watch ends after 1 s", script{ends: true, after: time.Second}, 320, 660, false, 1},
		{"watch ends after 10 s", script{ends: true, after: 10 * time.Second}, 358, 361, true, 0},
		{"watch with bookmarks ends after 7 min", script{onWatch: bookmarks(1), ends: true, after: 7 * time.Minute}, 9, 9, true, 0},
		{"no bookmarks", script{}, 20, 21, true, 0},
		{"bookmarks", script{onWatch: bookmarks(1)}, 1, 1, true, 0},
		{"bookmarks with the same version", script{onWatch: bookmarks(0)}, 20, 21, true, 0},
		{"watch does not open", script{onWatch: never}, 20, 21, true, 0},
		{"retry after 1 s", script{onList: func() error { return statusError(429, 1) }}, 360, 730, false, 1},
		{"retry after 1 h", script{onList: func() error { return statusError(503, 3600) }}, 360, 361, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, &c.s, time.Hour, func(logs *journal, w *watch) {
				if got := len(c.s.lists); got < c.min || got > c.max {
					t.Errorf("lists in an hour: got %d, want %d to %d", got, c.min, c.max)
				}
				if got := w.isUp(); got != c.up {
					t.Errorf("up: got %v, want %v", got, c.up)
				}
				if got := len(logs.level("WARN")); got != c.warnings {
					t.Errorf("got %d warnings, want %d:\n%.3000s", got, c.warnings, logs)
				}
			})
		})
	}
}

// TestWatch_recovers: after an hour without an API server, the watch notices the server
// within the longest pause, and is up a moment later.
func TestWatch_recovers(t *testing.T) {
	var back time.Time
	s := &script{}
	s.onList = func() error {
		if back.IsZero() {
			back = time.Now().Add(time.Hour)
		}
		if time.Now().Before(back) {
			return refused()
		}
		return nil
	}
	play(t, s, time.Hour+longestPause+upAfter, func(_ *journal, w *watch) {
		if got := s.lists[len(s.lists)-1].Sub(back); got < 0 || got > longestPause {
			t.Errorf("noticed after %v, want within %v", got, longestPause)
		}
		if !w.isUp() {
			t.Error("the watch is not up")
		}
	})
}

// TestWatch_renewsCredentials: the credentials are read again only after an error that
// new credentials may fix.
func TestWatch_renewsCredentials(t *testing.T) {
	untrusted := &kube.Error{Cause: kube.CauseTLS, Err: errors.New("unknown authority")}
	for err, want := range map[error]bool{statusError(401, 0): true, untrusted: true, statusError(500, 0): false} {
		s := &script{onList: func() error { return err }}
		play(t, s, time.Minute, func(*journal, *watch) {
			if got := s.renewed > 0; got != want {
				t.Errorf("%v: renewed: got %v, want %v", err, got, want)
			}
		})
	}
}

// TestWatch_forbiddenOnce: a starting API server answers 403 for a moment. A single 403
// is therefore not logged.
func TestWatch_forbiddenOnce(t *testing.T) {
	for _, c := range []struct {
		lasts time.Duration
		warns int
	}{{0, 0}, {10 * time.Second, 1}} {
		var until time.Time
		s := &script{onWatch: bookmarks(1)}
		s.onList = func() error {
			if until.IsZero() {
				until = time.Now().Add(c.lasts)
			}
			if len(s.lists) == 1 || time.Now().Before(until) {
				return statusError(403, 0)
			}
			return nil
		}
		play(t, s, time.Minute, func(logs *journal, w *watch) {
			warns, infos := logs.level("WARN"), logs.level("INFO")
			if len(warns) != c.warns || len(infos) != c.warns || !w.isUp() {
				t.Errorf("403 for %v: got %d warnings and %d infos, want %d each:\n%s", c.lasts, len(warns), len(infos), c.warns, logs)
			}
			if c.warns > 0 && !strings.Contains(warns[0], `"rule":`) {
				t.Errorf("got %s, want the missing rule in it", warns[0])
			}
		})
	}
}

// TestWatch_olderVersion: an event with an older version is not applied. A new list
// follows. An event with the same version is not an error.
func TestWatch_olderVersion(t *testing.T) {
	var news chan<- event
	s := &script{onWatch: func(_ context.Context, out chan<- event) error { news = out; return nil }}
	play(t, s, time.Second, func(logs *journal, w *watch) {
		send := func(version, value string) string {
			o := object{metadata: metadata{Namespace: "ns", Name: "db", ResourceVersion: version}}
			o.Data = map[string]secret.Value{"k": secret.Value(value)}
			news <- event{Type: apiwatch.Modified, Object: o}
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return string(w.secrets["db"].Data["k"])
		}
		send("10", "newer")
		if got := send("10", "newer"); got != "newer" || len(s.lists) != 1 {
			t.Fatalf("got %q after %d lists, want the newer value after 1", got, len(s.lists))
		}
		if got := send("9", "older"); got != "newer" {
			t.Errorf("got %q, want the newer value", got)
		}
		time.Sleep(longestPause)
		synctest.Wait()
		if len(s.lists) != 2 || !strings.Contains(logs.String(), errBackwards.Error()) {
			t.Errorf("%d lists, want 2, and the error in the log:\n%s", len(s.lists), logs)
		}
	})
}

// TestReread: a list begins at once if the watch is open, if it waits for the answer of a
// watch, and if it pauses after an error.
func TestReread(t *testing.T) {
	for name, s := range map[string]*script{
		"open":          {onWatch: bookmarks(1)},
		"does not open": {onWatch: never},
		"error":         {onList: func() error { return statusError(500, 3600) }},
	} {
		play(t, s, 15*time.Second, func(_ *journal, w *watch) {
			before, up := len(s.lists), w.isUp()
			time.Sleep(time.Second)
			asked := time.Now()
			w.mu.Lock()
			w.restart()
			w.mu.Unlock()
			synctest.Wait()
			if len(s.lists) != before+1 || s.lists[before] != asked {
				t.Errorf("%s: got %d lists, want %d, the last at once", name, len(s.lists), before+1)
			}
			if got := w.isUp(); got != up {
				t.Errorf("%s: up: got %v, want %v as before", name, got, up)
			}
		})
	}
}

// TestBackoff: pauses double, are random, stay below the maximum, and are never zero.
func TestBackoff(t *testing.T) {
	b := newBackoff()
	for i := range 1000 {
		most := min(500*time.Millisecond<<min(i, 10), 10*time.Second)
		if got := b.Step(); got < most/2 || got > most {
			t.Fatalf("pause %d: got %v, want %v to %v", i, got, most/2, most)
		}
	}
}

// TestPauseAfter_retryAfter: the longest pause limits the delay that a server requests.
func TestPauseAfter_retryAfter(t *testing.T) {
	if got := newIdleWatch().pauseAfter(statusError(429, 3600)); got != longestPause {
		t.Errorf("got %v, want %v", got, longestPause)
	}
}

// TestPauseAfter_stableWatch: a short pause follows a stable watch.
func TestPauseAfter_stableWatch(t *testing.T) {
	w := newIdleWatch()
	for range 10 {
		w.pauseAfter(statusError(500, 0))
	}
	w.listed = time.Now().Add(-stableAfter)
	if got := w.pauseAfter(statusError(500, 0)); got > 500*time.Millisecond {
		t.Errorf("got %v, want at most 0.5 s", got)
	}
}

// TestSetUp_endedAttempt: the timer of an attempt may fire while the attempt ends. Then
// the watch does not become up.
func TestSetUp_endedAttempt(t *testing.T) {
	w := newIdleWatch()
	attempt, end := context.WithCancel(t.Context())
	end()
	w.setDown(statusError(500, 0).(*kube.Error))
	w.setUp(attempt, true)
	if w.isUp() {
		t.Error("the watch is up after its attempt has ended")
	}
	w.setUp(t.Context(), true)
	if !w.isUp() {
		t.Error("the watch is not up")
	}
}

func TestNew_invalidSelector(t *testing.T) {
	a := newAPI(t)
	_, err := New(Options{Config: a.config(""), Namespace: "ns", Selector: "a in ("})
	if want := `parse selector "a in ("`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
