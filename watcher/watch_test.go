package watcher

import (
	"context"
	"log/slog"
	"strings"
	"sync"
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

// TestReread: a list begins at once if the watch is open, if it waits for the answer of a
// watch, and if it pauses after an error.
func TestReread(t *testing.T) {
	for name, s := range map[string]*script{
		"open":          {onWatch: bookmarks(1)},
		"does not open": {onWatch: never},
		"error":         {onList: func() error { return statusError(500, 3600) }},
	} {
		play(t, s, 15*time.Second, func(_ *journal, w *watch) {
			before, up := s.count(), w.isUp()
			time.Sleep(time.Second)
			asked := time.Now()
			w.reread.Poke()
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
	b := newIdleWatch().backoff
	for i := range 1000 {
		most := min(500*time.Millisecond<<min(i, 10), 10*time.Second)
		if got := b.Next(); got < most/2 || got > most {
			t.Fatalf("pause %d: got %v, want %v to %v", i, got, most/2, most)
		}
	}
}

// TestPauseAfter_retryAfter: the longest pause limits the delay requested by a server.
func TestPauseAfter_retryAfter(t *testing.T) {
	if got := newIdleWatch().pauseAfter(statusError(429, 3600)); got != longestPause {
		t.Errorf("got %v, want %v", got, longestPause)
	}
}

// TestPauseAfter_backwards: an older version is reported as such, also if it ends the watch early.
func TestPauseAfter_backwards(t *testing.T) {
	w := newIdleWatch()
	for range 3 {
		w.listed = time.Now().Add(-stableAfter / 2)
		w.pauseAfter(errBackwards)
	}
	if w.err != errBackwards {
		t.Errorf("got %v, want %v", w.err, errBackwards)
	}
}

// TestWatch_stable: after a watch that lasted, the first pause after an error is short again, even
// if Reread ended the watch.
func TestWatch_stable(t *testing.T) {
	s := &script{onList: refused}
	play(t, s, time.Hour, func(_ *journal, w *watch) {
		s.set(func() { s.onList = nil })
		time.Sleep(longestPause + stableAfter)
		s.set(func() { s.onList = refused })
		w.reread.Poke()
		synctest.Wait()
		lists := s.count()
		time.Sleep(firstPause)
		synctest.Wait()
		if got := s.count() - lists; got != 1 {
			t.Errorf("%d lists within %v after the error, want 1", got, firstPause)
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

// TestWatch_endsEarly: while a proxy ends each watch after 3 s, the pause between two
// watches does not grow, the watch is down, and a single line is logged. A lasting
// watch ends this state.
func TestWatch_endsEarly(t *testing.T) {
	s := &script{ends: true, after: 3 * time.Second}
	play(t, s, time.Hour, func(logs *journal, w *watch) {
		for i := 2; i < len(s.lists); i++ {
			if got := s.lists[i].Sub(s.lists[i-1]); got > earlyInterval*6/5 {
				t.Fatalf("list %d: %v after the list before, want at most %v", i, got, earlyInterval*6/5)
			}
		}
		if got := len(logs.level("WARN")); w.isUp() || got != 1 {
			t.Errorf("up: %v, %d warnings, want down and 1:\n%.3000s", w.isUp(), got, logs)
		}
		s.set(func() { s.ends = false })
		time.Sleep(earlyInterval*6/5 + stableAfter)
		synctest.Wait()
		if !w.isUp() {
			t.Error("a watch that lasts is not up")
		}
	})
}

// TestWatch_silent: if the open watch does not deliver a change within 5 s, a list finds
// it. Then the watch is down and lists follow at short intervals. News at the very end of
// a watch do not change this: a buffering proxy delivers them there. A bookmark during a
// watch does.
func TestWatch_silent(t *testing.T) {
	s := &script{}
	version := "7"
	s.items = func() []object {
		return []object{{metadata: metadata{Namespace: "ns", Name: "db", ResourceVersion: version}}}
	}
	s.listed = func() string { return version }
	play(t, s, time.Second, func(logs *journal, w *watch) {
		s.set(func() { version = "8" })
		time.Sleep(staleAfter + deliveryTime)
		synctest.Wait()
		if w.isUp() || len(logs.level("WARN")) != 1 || !strings.Contains(logs.String(), errSilent.Error()) {
			t.Fatalf("want the watch to be down and a single warning:\n%s", logs)
		}
		deliverAfter := func(d time.Duration) {
			s.onWatch = func(_ context.Context, news chan<- event) error {
				time.AfterFunc(d, func() { news <- bookmark(9) })
				return nil
			}
		}
		since, lists := w.state.DownSince, s.count()
		s.set(func() { deliverAfter(pollWatchTime - flushTime/2); s.ends, s.after = true, pollWatchTime })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := s.count() - lists; w.isUp() || got < 40 || got > 51 {
			t.Fatalf("10 min later: up: %v, %d lists, want down and a list every %v", w.isUp(), got, pollWatchTime)
		}
		if ago := time.Since(since); w.state.DownSince != since || ago < 10*time.Minute || ago > 11*time.Minute {
			t.Errorf("down since %v, at first %v, want the time of the warning", w.state.DownSince, since)
		}
		if s.query.WatchTimeout != pollWatchTime {
			t.Errorf("requested duration of the watch: got %v, want %v", s.query.WatchTimeout, pollWatchTime)
		}
		s.set(func() { deliverAfter(pollWatchTime - 2*flushTime) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if !w.isUp() || len(logs.level("WARN")) != 1 || len(logs.level("INFO")) != 1 {
			t.Errorf("want the watch to be up again, and a line for each transition:\n%.3000s", logs)
		}
	})
}

// TestWatch_silentReplay: while a watch is silent, streams start before the undelivered
// change. Its delivery proves that the watch works again, even if nothing else happens. The
// event is older than the list and is not applied. If the API server no longer has the
// version, streams start at the list.
func TestWatch_silentReplay(t *testing.T) {
	for _, expired := range []bool{false, true} {
		version, listed := "7", "7"
		var replayed object
		s := &script{}
		s.items = func() []object {
			return []object{{metadata: metadata{Namespace: "ns", Name: "db", ResourceVersion: version}}}
		}
		s.listed = func() string { return listed }
		play(t, s, time.Second, func(logs *journal, w *watch) {
			s.set(func() { version, listed = "9", "9" })
			time.Sleep(staleAfter + deliveryTime)
			synctest.Wait()
			s.set(func() {
				replayed.metadata = metadata{Namespace: "ns", Name: "db", ResourceVersion: "8"}
				s.onWatch = func(_ context.Context, news chan<- event) error {
					switch {
					case s.version != "7":
					case expired:
						return statusError(410, 0)
					default:
						go func() { news <- event{Type: apiwatch.Modified, Object: replayed} }()
					}
					return nil
				}
			})
			time.Sleep(pollInterval + flushTime)
			synctest.Wait()
			if want := map[bool]string{false: "7",
				true: "9"}[expired]; s.version != want || len(logs.level("WARN")) != 1 {
				t.Errorf("expired %v: the watch starts at version %s, want %s:\n%s", expired, s.version, want, logs)
			}
			if got := w.secrets["db"].ResourceVersion; got != "9" || w.isUp() == expired {
				t.Errorf("expired %v: version %s, up %v, want 9, %v", expired, got, w.isUp(), !expired)
			}
		})
	}
}

// TestWatch_replay: a list after Reread, or after three minutes without news, finds a change that
// the watch did not deliver. The next stream starts before the change. If it delivers the change
// within 5 s, the watch works: the watch cache lags behind consistent reads. Otherwise the watch
// is down.
func TestWatch_replay(t *testing.T) {
	for _, c := range []struct {
		name, listed, start string
		stale, delivers, up bool
	}{
		{"no change", "7", "7", false, false, true},
		{"late delivery", "8", "7", false, true, true},
		{"no delivery", "8", "7", false, false, false},
		{"restored backup", "6", "6", false, false, true},
		{"stale, late delivery", "8", "7", true, true, true},
		{"stale, no delivery", "8", "7", true, false, false},
	} {
		s := &script{}
		version, starts := "7", []string{}
		var latest chan<- event
		s.onWatch = func(_ context.Context, news chan<- event) error {
			starts, latest = append(starts, s.version), news
			return nil
		}
		s.items = func() []object {
			return []object{{metadata: metadata{Namespace: "ns", Name: "db", ResourceVersion: version}}}
		}
		s.listed = func() string { return version }
		play(t, s, time.Second, func(logs *journal, w *watch) {
			s.set(func() { version = c.listed })
			if c.stale {
				time.Sleep(staleAfter - time.Second) // play slept for a second
			} else {
				w.reread.Poke()
			}
			time.Sleep(deliveryTime - time.Second)
			synctest.Wait()
			if c.delivers {
				latest <- bookmark(8)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := w.isUp(); got != c.up || len(logs.level("WARN")) > 0 == c.up {
				t.Errorf("%s: up: got %v, want %v:\n%s", c.name, got, c.up, logs)
			}
			if starts[1] != c.start {
				t.Errorf("%s: the stream starts at version %s, want %s", c.name, starts[1], c.start)
			}
		})
	}
}

// TestWatch_endedBeforeDelivery: the server ends the watch within the 5 s in which it must deliver
// a change. This proves nothing about the next watch.
func TestWatch_endedBeforeDelivery(t *testing.T) {
	s := &script{}
	version := "7"
	s.items = func() []object {
		return []object{{metadata: metadata{Namespace: "ns", Name: "db", ResourceVersion: version}}}
	}
	s.listed = func() string { return version }
	play(t, s, time.Second, func(logs *journal, w *watch) {
		s.set(func() { version, s.ends, s.after = "8", true, deliveryTime/2 })
		w.reread.Poke()
		synctest.Wait()
		s.set(func() { s.ends = false })
		time.Sleep(2 * deliveryTime)
		synctest.Wait()
		if !w.isUp() || len(logs.level("WARN")) != 0 {
			t.Errorf("up: %v:\n%s", w.isUp(), logs)
		}
	})
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
		if w.timeout != 2*duration {
			t.Errorf("time limit: got %v, want %v", w.timeout, 2*duration)
		}
	})
}

// TestPauseAfter_jitter: if a server ends a watch before its time, or breaks its connection, the next list is delayed by
// a random time, because the server ends the watches of all Pods at once. A failed list is retried soon.
func TestPauseAfter_jitter(t *testing.T) {
	w := newIdleWatch()
	w.watchTime = 2 * kube.MinWatchTime
	for _, lasted := range []time.Duration{stableAfter, w.watchTime - time.Second} {
		for _, err := range []error{nil, refused()} {
			least, most := maxJitter, time.Duration(0)
			for range 1000 {
				w.listed = time.Now().Add(-lasted)
				pause := w.pauseAfter(err)
				least, most = min(least, pause), max(most, pause)
			}
			if least > maxJitter/10 || most < maxJitter*9/10 || most > maxJitter {
				t.Errorf("%v after %v: pauses of %v to %v, want 0 to %v", err, lasted, least, most, maxJitter)
			}
		}
	}
	w.backoff.Reset()
	w.listed = time.Time{}
	if got := w.pauseAfter(refused()); got > firstPause {
		t.Errorf("after a failed list: got %v, want at most %v", got, firstPause)
	}
	w.listed = time.Now().Add(-w.watchTime)
	if got := w.pauseAfter(nil); got != 0 {
		t.Errorf("after the requested duration: got %v, want no pause", got)
	}
}

// TestReread_storm: a Reread every 0.2 s, and lists of 5.9 s alternate with lists of 0 s. The first read starts at once.
// Then a read starts at most every RereadInterval. Reads never overlap and are not canceled. The same is true while
// every list fails.
func TestReread_storm(t *testing.T) {
	for _, onList := range []func() error{nil, func() error { return statusError(500, 3600) }} {
		rereadStorm(t, &script{onWatch: bookmarks(1), onList: onList})
	}
}

func rereadStorm(t *testing.T, s *script) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 5900 * time.Millisecond
		canceled := 0
		s.slow = func(ctx context.Context) error {
			select {
			case <-time.After(time.Duration(s.count()%2) * slow):
			case <-ctx.Done():
				canceled++
			}
			return ctx.Err()
		}
		w := &Watcher{watches: []*watch{newTestWatch(s, slog.New(slog.DiscardHandler))}}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { w.watches[0].run(ctx) })
		time.Sleep(10 * time.Second)
		began := time.Now()
		for range 5 * 60 {
			w.Reread()
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		if got := s.lists[1].Sub(began); got != 0 {
			t.Errorf("first read after %v, want at once", got)
		}
		for i := 2; i < len(s.lists); i++ {
			if got := s.lists[i].Sub(s.lists[i-1]); got < RereadInterval || got < time.Duration(i%2)*slow {
				t.Errorf("read %d after %v, want at least %v and after the read before", i, got, RereadInterval)
			}
		}
		if got, want := len(s.lists), int(time.Minute/(slow+RereadInterval))*2; got < want || canceled > 0 {
			t.Errorf("%d lists, %d canceled, want at least %d and none", got, canceled, want)
		}
		cancel()
		group.Wait()
	})
}

func TestNew_invalidSelector(t *testing.T) {
	a := newAPI(t)
	_, err := New(Options{Config: a.config(""), Namespace: "ns", Selector: "a in ("})
	if want := `parse selector "a in ("`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
