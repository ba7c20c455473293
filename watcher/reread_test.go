package watcher

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

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

// TestReread_storm: a Reread every 0.2 s, and lists of 5.9 s alternate with lists of 0 s. The first read
// starts at once. Then a read starts at most every RereadInterval. Reads never overlap and are not canceled.
// The same is true while every list fails.
func TestReread_storm(t *testing.T) {
	for _, onList := range []func() error{nil, func() error { return statusError(500, 3600) }} {
		rereadStorm(t, &script{onWatch: bookmarks(1), onList: onList})
	}
}

// TestReread_duringPause: a second Reread within RereadInterval does not prolong the pause after an error.
func TestReread_duringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{onList: func() error { return statusError(500, 0) }}
		w := &Watcher{watches: []*watch{newTestWatch(s, slog.New(slog.DiscardHandler))}}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { w.watches[0].run(ctx) })
		for range 2 { // the second list starts at once, the third within the second pause
			time.Sleep(100 * time.Millisecond)
			w.Reread()
		}
		time.Sleep(2 * firstPause)
		cancel()
		group.Wait()
		if got := len(s.lists); got != 3 {
			t.Errorf("%d lists, want 3", got)
		}
	})
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
