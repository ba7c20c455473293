package watcher

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/wake"
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
		{"watch ends after 10 s", script{ends: true, after: 10 * time.Second}, 300, 361, true, 0},
		{"watch with bookmarks ends after 7 min", script{onWatch: bookmarks(1), ends: true, after: 7 * time.Minute},
			9, 9,
			true, 0},
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
			if s.count() == 1 || time.Now().Before(until) {
				return statusError(403, 0)
			}
			return nil
		}
		play(t, s, time.Minute, func(logs *journal, w *watch) {
			warns, infos := logs.level("WARN"), logs.level("INFO")
			if len(warns) != c.warns || len(infos) != c.warns || !w.isUp() {
				t.Errorf("403 for %v: got %d warnings and %d infos, want %d each:\n%s", c.lasts, len(warns),
					len(infos), c.warns,
					logs)
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

// TestFollow_evidence: each error requires its own evidence of a working watch: an open stream
// for some time, or news of a stream that stays open.
func TestFollow_evidence(t *testing.T) {
	const news = 3 * time.Second
	for err, want := range map[*kube.Error]time.Duration{
		statusError(500, 0).(*kube.Error): upAfter, errEndsAtOnce: upAfter, errEndsEarly: stableAfter, errSilent: news +
			flushTime,
	} {
		synctest.Test(t, func(t *testing.T) {
			w, s := newIdleWatch(), &stream{news: wake.NewChannel()}
			w.setDown(err)
			time.AfterFunc(news, s.news.Poke)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = w.follow(ctx, s, false) }()
			for _, up := range []bool{false, true} {
				time.Sleep(want - time.Millisecond)
				synctest.Wait()
				if got := w.isUp(); got != up {
					t.Errorf("%v: up: got %v, want %v", err, got, up)
				}
				want = 2 * time.Millisecond
			}
			cancel()
			<-done
		})
	}
}

// TestWatch_slowList: the time limit of a list grows until the list succeeds, and then
// fits its duration.
func TestWatch_slowList(t *testing.T) {
	const duration = 50 * time.Second
	s := &script{onWatch: bookmarks(1)}
	var began time.Time
	var synced time.Duration
	s.slow = func(ctx context.Context) error {
		if began.IsZero() {
			began = time.Now()
		}
		select {
		case <-time.After(duration):
			synced = time.Since(began)
			return nil
		case <-ctx.Done():
			return &kube.Error{Cause: kube.CauseUnreachable, Err: ctx.Err()}
		}
	}
	play(t, s, 10*time.Minute, func(logs *journal, w *watch) {
		if synced == 0 || synced > 110*time.Second {
			t.Fatalf("synced after %v, want at most 15 + 30 + 50 s and pauses:\n%s", synced, logs)
		}
		if w.ListTimeout != 2*duration {
			t.Errorf("time limit: got %v, want %v", w.ListTimeout, 2*duration)
		}
	})
}

func TestNew_invalidSelector(t *testing.T) {
	a := newAPI(t)
	_, err := New(Options{Config: a.config(""), Namespace: "ns", Selector: "a in ("})
	if want := `parse selector "a in ("`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
