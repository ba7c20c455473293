package watcher

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiwatch "k8s.io/apimachinery/pkg/watch"
)

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
