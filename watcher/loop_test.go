package watcher

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// script is a source for tests in virtual time. Nil functions do what a good
// server does in which nothing happens.
type script struct {
	lists   []time.Time
	renewed int
	onList  func() error
	onOpen  func(ctx context.Context, w *watch.RaceFreeFakeWatcher) error
}

func (s *script) renew() { s.renewed++ }

func (s *script) list(context.Context, query, metav1.ListOptions) (*apiSecretList, error) {
	s.lists = append(s.lists, time.Now())
	if s.onList != nil {
		if err := s.onList(); err != nil {
			return nil, err
		}
	}
	return &apiSecretList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}, nil
}

func (s *script) open(ctx context.Context, _ query, _ metav1.ListOptions) (watch.Interface, func() error, error) {
	w := watch.NewRaceFreeFake()
	if s.onOpen != nil {
		if err := s.onOpen(ctx, w); err != nil {
			return nil, nil, err
		}
	}
	return w, func() error { return nil }, nil
}

// play runs one watch on a script for some virtual time.
func play(t *testing.T, s *script, long time.Duration, then func(logs *journal, l *loop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		logs := &journal{}
		all := newState(func() {})
		all.watch("secret/db")
		l := newLoop(query{namespace: "ns", name: "db", labels: labels.Everything()}, s, all,
			slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.run(ctx) }()
		time.Sleep(long)
		synctest.Wait()
		then(logs, l)
		began := time.Now()
		cancel()
		<-done
		if got := time.Since(began); got > 0 {
			t.Errorf("it took %v to stop, want no time", got)
		}
	})
}

// after ends a watch after some time.
func after(d time.Duration) func(context.Context, *watch.RaceFreeFakeWatcher) error {
	return func(_ context.Context, w *watch.RaceFreeFakeWatcher) error {
		time.AfterFunc(d, w.Stop)
		return nil
	}
}

// bookmarks are sent each minute; step is how far the version moves with each.
func bookmarks(step int) func(context.Context, *watch.RaceFreeFakeWatcher) error {
	return func(ctx context.Context, w *watch.RaceFreeFakeWatcher) error {
		go func() {
			for version := 7; ; version += step {
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
					return
				}
				w.Action(watch.Bookmark, &apiSecret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.Itoa(version)}})
			}
		}()
		return nil
	}
}

// TestPace counts the requests of an hour.
func TestPace(t *testing.T) {
	refused := &fault{kind: "dial", verb: verbList, text: "refused"}
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
		{"ends after 7 min, with bookmarks", script{onOpen: func(ctx context.Context, w *watch.RaceFreeFakeWatcher) error {
			return errors.Join(bookmarks(1)(ctx, w), after(7*time.Minute)(ctx, w))
		}}, 9, 9, true, 0},
		{"no bookmarks", script{}, 20, 21, true, 0},
		{"bookmarks", script{onOpen: bookmarks(1)}, 1, 1, true, 0},
		{"bookmarks that say nothing new", script{onOpen: bookmarks(0)}, 20, 21, true, 0},
		{"never opened", script{onOpen: func(ctx context.Context, _ *watch.RaceFreeFakeWatcher) error { <-ctx.Done(); return refused }}, 20, 21, true, 0},
		{"asks for a second", script{onList: func() error { return &fault{kind: "429", retryAfter: time.Second} }}, 360, 730, false, 1},
		{"asks for an hour", script{onList: func() error { return &fault{kind: "503", retryAfter: time.Hour} }}, 360, 361, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, &c.s, time.Hour, func(logs *journal, l *loop) {
				if got := len(c.s.lists); got < c.least || got > c.most {
					t.Errorf("lists in an hour: got %d, want %d to %d", got, c.least, c.most)
				}
				if got := l.health.status("").Up; got != c.up {
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
			return &fault{kind: "dial"}
		}
		return nil
	}
	play(t, s, time.Hour+backoffCap+upAfter, func(logs *journal, l *loop) {
		if got := s.lists[len(s.lists)-1].Sub(back); got < 0 || got > backoffCap {
			t.Errorf("seen after %v, want within %v", got, backoffCap)
		}
		if !l.health.status("").Up {
			t.Error("it is not up")
		}
	})
}

// TestRenew: credentials are read again after a 401 and not after anything.
func TestRenew(t *testing.T) {
	for kind, want := range map[string]bool{kindUnauthorized: true, kindTLS: true, "500": false} {
		s := &script{onList: func() error { return &fault{kind: kind} }}
		play(t, s, time.Minute, func(*journal, *loop) {
			if got := s.renewed > 0; got != want {
				t.Errorf("%s: renewed: got %v, want %v", kind, got, want)
			}
		})
	}
}

// TestBackoff: doubled, with jitter, never above the cap and never zero.
func TestBackoff(t *testing.T) {
	var b backoff
	for i := range 1000 {
		most := min(500*time.Millisecond<<min(i, 10), 10*time.Second)
		if got := b.next(); got < most/2 || got > most {
			t.Fatalf("pause %d: got %v, want %v to %v", i, got, most/2, most)
		}
	}
	b.reset()
	if got := b.next(); got > backoffStart {
		t.Errorf("after a reset: got %v, want at most %v", got, backoffStart)
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
				p, began := newPoker(c.settle), time.Now()
				var got []time.Duration
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range p.out {
						got = append(got, time.Since(began))
					}
				}()
				for range c.changes {
					p.changed()
					time.Sleep(900 * time.Millisecond)
				}
				time.Sleep(100*time.Millisecond + c.settle/10)
				p.stop()
				p.changed()
				synctest.Wait()
				close(p.out)
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

// TestChangedHasRoomForOne: it does not queue, and nobody waits for a reader.
func TestChangedHasRoomForOne(t *testing.T) {
	p := newPoker(0)
	for range 5 {
		p.changed()
	}
	if got := len(p.out); got != 1 {
		t.Errorf("got %d pokes, want 1", got)
	}
}

func TestNewRefuses(t *testing.T) {
	a := newAPI(t)
	for want, o := range map[string]Options{
		"no namespace":            {Config: a.config(""), Names: []string{"db"}},
		"neither names":           {Config: a.config(""), Namespace: "ns"},
		`parse selector "a in ("`: {Config: a.config(""), Namespace: "ns", Selector: "a in ("},
		"no configuration":        {Namespace: "ns", Names: []string{"db"}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
