package watcher

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/wake"
)

// TestBackoff: pauses double, are random, stay below the maximum, and are never zero.
func TestBackoff(t *testing.T) {
	b := newIdleWatch().backoff
	for i := range 1000 {
		most := min(500*time.Millisecond<<min(i, 10), 10*time.Second)
		if got := b.Step(); got < most/2 || got > most {
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

// TestPauseAfter_jitter: if a server ends a watch before its time, or breaks its connection, the next list
// is delayed by a random time, because the server ends the watches of all Pods at once. A failed list is
// retried soon.
func TestPauseAfter_jitter(t *testing.T) {
	w := newIdleWatch()
	w.WatchTimeout = 2 * kube.MinWatchTime
	for _, lasted := range []time.Duration{stableAfter, w.WatchTimeout - time.Second} {
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
	w.backoff = wake.NewBackoff(longestPause)
	w.listed = time.Time{}
	if got := w.pauseAfter(refused()); got > firstPause {
		t.Errorf("after a failed list: got %v, want at most %v", got, firstPause)
	}
	w.listed = time.Now().Add(-w.WatchTimeout)
	if got := w.pauseAfter(nil); got != 0 {
		t.Errorf("after the requested duration: got %v, want no pause", got)
	}
}
