package watcher

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// script is a source for tests in virtual time. Nil functions do what a good
// server does in which nothing happens.
type script struct {
	lists   []time.Time
	renewed int
	onList  func() error
	onOpen  func(ctx context.Context, w *apiwatch.RaceFreeFakeWatcher) error
}

func (s *script) Renew() { s.renewed++ }

func (s *script) List(context.Context, kube.Query) ([]object, string, error) {
	s.lists = append(s.lists, time.Now())
	if s.onList != nil {
		if err := s.onList(); err != nil {
			return nil, "", err
		}
	}
	return nil, "7", nil
}

// Watch ends with the watch, or with the context of its request.
func (s *script) Watch(ctx context.Context, _ kube.Query, _ string) (events, error) {
	w := apiwatch.NewRaceFreeFake()
	if s.onOpen != nil {
		if err := s.onOpen(ctx, w); err != nil {
			return nil, err
		}
	}
	return func(yield func(event, error) bool) {
		defer w.Stop()
		for {
			select {
			case e, ok := <-w.ResultChan():
				if !ok || !yield(event{Type: e.Type, Object: e.Object.(*bookmark).secret()}, nil) {
					return
				}
			case <-ctx.Done():
				yield(event{}, ctx.Err())
				return
			}
		}
	}, nil
}

// bookmark is an object that has a version only, for a fake watch.
type bookmark struct{ metav1.PartialObjectMetadata }

func newBookmark(version int) *bookmark {
	b := &bookmark{}
	b.ResourceVersion = strconv.Itoa(version)
	return b
}

func (b *bookmark) secret() object {
	return object{metadata: metadata{ResourceVersion: b.ResourceVersion}}
}

// play runs one watch on a script for some virtual time.
func play(t *testing.T, s *script, long time.Duration, then func(logs *journal, w *watch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		logs := &journal{}
		logger := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		w := newWatch(oneName("ns", "db"), s, &sync.Mutex{}, func() {}, logger)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		time.Sleep(long)
		synctest.Wait()
		then(logs, w)
		began := time.Now()
		cancel()
		<-done
		if got := time.Since(began); got > 0 {
			t.Errorf("it took %v to stop, want no time", got)
		}
	})
}

// oneName is the filter of a watch by name.
func oneName(namespace, name string) filter {
	return filter{Query: kube.Query{Namespace: namespace, Name: name}, labels: labels.Everything()}
}

// isUp is as in Status.
func (w *watch) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

// after ends a watch after some time.
func after(d time.Duration) func(context.Context, *apiwatch.RaceFreeFakeWatcher) error {
	return func(_ context.Context, w *apiwatch.RaceFreeFakeWatcher) error {
		time.AfterFunc(d, w.Stop)
		return nil
	}
}

// bookmarks are sent each minute; step is how far the version moves with each.
func bookmarks(step int) func(context.Context, *apiwatch.RaceFreeFakeWatcher) error {
	return func(ctx context.Context, w *apiwatch.RaceFreeFakeWatcher) error {
		go func() {
			for version := 7; ; version += step {
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
					return
				}
				w.Action(apiwatch.Bookmark, newBookmark(version))
			}
		}()
		return nil
	}
}

// TestPace counts the requests of an hour.
func TestPace(t *testing.T) {
	refused := &kube.Error{Kind: "dial", Verb: kube.VerbList, Text: "refused"}
	for _, c := range []struct {
		name     string
		s        script
		least    int // lists
		most     int
		up       bool
		warnings int
	}{
		{"refused", script{onList: func() error { return refused }}, 360, 730, false, 1},
		{"ends at once", script{onOpen: after(0)}, 360, 730, false, 1},
		{"ends after a second", script{onOpen: after(time.Second)}, 320, 660, false, 1},
		{"ends after 10 s", script{onOpen: after(10 * time.Second)}, 358, 361, true, 0},
		{"ends after 7 min, with bookmarks", script{onOpen: func(ctx context.Context, w *apiwatch.RaceFreeFakeWatcher) error {
			return errors.Join(bookmarks(1)(ctx, w), after(7*time.Minute)(ctx, w))
		}}, 9, 9, true, 0},
		{"no bookmarks", script{}, 20, 21, true, 0},
		{"bookmarks", script{onOpen: bookmarks(1)}, 1, 1, true, 0},
		{"bookmarks without a new version", script{onOpen: bookmarks(0)}, 20, 21, true, 0},
		{"never opened", script{onOpen: func(ctx context.Context, _ *apiwatch.RaceFreeFakeWatcher) error { <-ctx.Done(); return refused }}, 20, 21, true, 0},
		{"asks for a second", script{onList: func() error { return &kube.Error{Kind: "429", RetryAfter: time.Second} }}, 360, 730, false, 1},
		{"asks for an hour", script{onList: func() error { return &kube.Error{Kind: "503", RetryAfter: time.Hour} }}, 360, 361, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, &c.s, time.Hour, func(logs *journal, w *watch) {
				if got := len(c.s.lists); got < c.least || got > c.most {
					t.Errorf("lists in an hour: got %d, want %d to %d", got, c.least, c.most)
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

// TestBackIsSeenSoon: after an hour without an API server it is seen within the
// longest pause, and up a moment later.
func TestBackIsSeenSoon(t *testing.T) {
	var back time.Time
	s := &script{}
	s.onList = func() error {
		if back.IsZero() {
			back = time.Now().Add(time.Hour)
		}
		if time.Now().Before(back) {
			return &kube.Error{Kind: "dial"}
		}
		return nil
	}
	play(t, s, time.Hour+longestPause+upAfter, func(logs *journal, w *watch) {
		if got := s.lists[len(s.lists)-1].Sub(back); got < 0 || got > longestPause {
			t.Errorf("seen after %v, want within %v", got, longestPause)
		}
		if !w.isUp() {
			t.Error("it is not up")
		}
	})
}

// TestRenew: credentials are read again after a 401 and not after anything.
func TestRenew(t *testing.T) {
	for kind, want := range map[string]bool{kube.KindUnauthorized: true, kube.KindTLS: true, "500": false} {
		s := &script{onList: func() error { return &kube.Error{Kind: kind} }}
		play(t, s, time.Minute, func(*journal, *watch) {
			if got := s.renewed > 0; got != want {
				t.Errorf("%s: renewed: got %v, want %v", kind, got, want)
			}
		})
	}
}

// TestBackoff: doubled, with jitter, never above the cap and never zero.
func TestBackoff(t *testing.T) {
	b := newBackoff()
	for i := range 1000 {
		most := min(500*time.Millisecond<<min(i, 10), 10*time.Second)
		if got := b.Step(); got < most/2 || got > most {
			t.Fatalf("pause %d: got %v, want %v to %v", i, got, most/2, most)
		}
	}
}

// TestRetryAfterIsLimited: whatever a server asks for.
func TestRetryAfterIsLimited(t *testing.T) {
	w := newWatch(filter{}, &script{}, &sync.Mutex{}, nil, slog.New(slog.DiscardHandler))
	got := w.pauseAfter(&kube.Error{Kind: "429", RetryAfter: time.Hour})
	if got != longestPause {
		t.Errorf("got %v, want %v", got, longestPause)
	}
}

// TestBackoffStartsAnew: a watch that lasted is followed by a short pause.
func TestBackoffStartsAnew(t *testing.T) {
	w := newWatch(filter{}, &script{}, &sync.Mutex{}, nil, slog.New(slog.DiscardHandler))
	for range 10 {
		w.pauseAfter(&kube.Error{Kind: "500"})
	}
	w.listed = time.Now().Add(-stableAfter)
	if got := w.pauseAfter(&kube.Error{Kind: "500"}); got > 500*time.Millisecond {
		t.Errorf("got %v, want at most 0.5 s", got)
	}
}

// TestForbiddenAtFirst: an API server that starts answers 403 for a moment,
// which is no reason to change a Role.
func TestForbiddenAtFirst(t *testing.T) {
	for _, c := range []struct {
		lasts time.Duration
		warns int
	}{{0, 0}, {10 * time.Second, 1}} {
		var until time.Time
		s := &script{onOpen: bookmarks(1)}
		s.onList = func() error {
			if until.IsZero() {
				until = time.Now().Add(c.lasts)
			}
			if len(s.lists) == 1 || time.Now().Before(until) {
				return &kube.Error{Kind: kube.KindForbidden, Verb: kube.VerbList}
			}
			return nil
		}
		play(t, s, time.Minute, func(logs *journal, w *watch) {
			warns, infos := logs.level("WARN"), logs.level("INFO")
			if len(warns) != c.warns || len(infos) != c.warns || !w.isUp() {
				t.Errorf("403 for %v: got %d warnings and %d infos, want %d of each:\n%s", c.lasts, len(warns), len(infos), c.warns, logs)
			}
			if c.warns > 0 && !strings.Contains(warns[0], `"rule":`) {
				t.Errorf("got %s, want the rule in it", warns[0])
			}
		})
	}
}

// TestNotUpAfterItsEnd: the timer of an attempt may fire while the attempt ends.
func TestNotUpAfterItsEnd(t *testing.T) {
	w := newWatch(filter{}, &script{}, &sync.Mutex{}, nil, slog.New(slog.DiscardHandler))
	attempt, end := context.WithCancel(t.Context())
	end()
	w.failed(&kube.Error{Kind: "500"})
	w.setUp(attempt, true)
	if w.isUp() {
		t.Error("an attempt that has ended made the watch up")
	}
	w.setUp(t.Context(), true)
	if !w.isUp() {
		t.Error("it is not up")
	}
}

// TestReread: a new list begins at once, from a watch that is open, from one
// that waits for its answer, and from the pause after an error.
func TestReread(t *testing.T) {
	for name, s := range map[string]*script{
		"open":  {onOpen: bookmarks(1)},
		"never": {onOpen: func(ctx context.Context, _ *apiwatch.RaceFreeFakeWatcher) error { <-ctx.Done(); return ctx.Err() }},
		"error": {onList: func() error { return &kube.Error{Kind: "500", RetryAfter: time.Hour} }},
	} {
		play(t, s, 15*time.Second, func(logs *journal, w *watch) {
			before, up := len(s.lists), w.isUp()
			time.Sleep(time.Second)
			asked := time.Now()
			w.mu.Lock()
			w.restart()
			w.mu.Unlock()
			synctest.Wait()
			if len(s.lists) != before+1 || s.lists[before] != asked {
				t.Errorf("%s: got %d lists, want %d, the last one at once", name, len(s.lists), before+1)
			}
			if got := w.isUp(); got != up {
				t.Errorf("%s: up: got %v, want %v as before", name, got, up)
			}
		})
	}
}

// TestSettle: a poke comes after some time without a change, and after ten
// times that at the latest.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name    string
		settle  time.Duration
		changes int // one every 900 ms
		want    []time.Duration
	}{
		{"none", 0, 2, []time.Duration{0, 900 * time.Millisecond}},
		{"one", time.Second, 1, []time.Duration{time.Second}},
		{"three", time.Second, 3, []time.Duration{2800 * time.Millisecond}},
		{"without end", time.Second, 21, []time.Duration{10 * time.Second, 19 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, out, began := newPoker(), newPoker(), time.Now()
				ctx, end := context.WithCancel(t.Context())
				if c.settle == 0 {
					out = in // as New does
				} else {
					go settle(ctx, in, out, c.settle)
				}
				var got []time.Duration
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range out {
						got = append(got, time.Since(began))
					}
				}()
				for range c.changes {
					in.poke()
					time.Sleep(900 * time.Millisecond)
				}
				time.Sleep(100*time.Millisecond + c.settle/10)
				end()
				synctest.Wait()
				if c.settle > 0 {
					in.poke()
				}
				time.Sleep(2 * settleAtMost * c.settle)
				close(out)
				<-done
				if len(got) < len(c.want) {
					t.Fatalf("pokes: got %v, want %v", got, c.want)
				}
				for i, want := range c.want {
					if got[i] != want {
						t.Errorf("poke %d: got %v, want %v", i, got[i], want)
					}
				}
			})
		})
	}
}

// TestChangedHasRoomForOne: it does not queue, and waits for no reader.
func TestChangedHasRoomForOne(t *testing.T) {
	p := newPoker()
	for range 5 {
		p.poke()
	}
	if got := len(p); got != 1 {
		t.Errorf("got %d pokes, want 1", got)
	}
}

func TestNewRefuses(t *testing.T) {
	a := newAPI(t)
	_, err := New(Options{Config: a.config(""), Namespace: "ns", Selector: "a in ("})
	if want := `parse selector "a in ("`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
