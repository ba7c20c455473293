package notifier

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const interval = 500 * time.Millisecond

var sent = func() error { return nil }

// TestInterval: two signals to a process have a minimum distance. Another process does not wait, and a signal that
// could not be sent starts no interval.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := NewInterval(interval)
		if !i.End().IsZero() {
			t.Error("the first publish waits")
		}
		denied := errors.New("EPERM")
		if err := i.Signal(7, func() error { return denied }); err != denied || !i.End().IsZero() {
			t.Errorf("got %v, the next publish waits until %v, want EPERM and no interval", err, i.End())
		}
		if err := i.Signal(7, sent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval - time.Nanosecond)
		err := i.Signal(7, func() error { t.Error("signaled twice in the interval"); return nil })
		if f := AsFailure(err); !f.Waiting || f.RetryAfter != time.Nanosecond {
			t.Errorf("in the interval: %+v, want a wait for the rest", f)
		}
		if err := i.Signal(8, sent); err != nil {
			t.Errorf("another process: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := i.Signal(7, sent); err != nil {
			t.Errorf("after the interval: %v", err)
		}
		if got := time.Until(i.End()); got != interval {
			t.Errorf("the next publish waits for %v, want %v", got, interval)
		}
	})
}

// TestInterval_Swap: a rename waits for the last interval, also for an interval that starts while it waits. No signal
// is sent during a rename. The end of the context ends the wait.
func TestInterval_Swap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, began := NewInterval(interval), time.Now()
		i.Start(7)
		time.AfterFunc(interval/2, func() { i.Start(8) })
		err := i.Swap(t.Context(), func() error {
			if got := time.Since(began); got != 3*interval/2 {
				t.Errorf("renamed after %v, want %v", got, 3*interval/2)
			}
			if i.mu.TryLock() {
				t.Error("a signal is possible during the rename")
			}
			return errors.New("no space")
		})
		if err == nil || err.Error() != "no space" {
			t.Errorf("got %v, want the error of rename", err)
		}
		i.Start(7)
		ctx, cancel := context.WithTimeout(t.Context(), interval/2)
		defer cancel()
		if err := i.Swap(ctx, func() error { t.Error("renamed in an interval"); return nil }); err != ctx.Err() {
			t.Errorf("got %v, want %v", err, ctx.Err())
		}
	})
}

// TestInterval_restart: a restarted sidecar does not know whether the earlier sidecar has just signaled a process, so
// an interval begins with the start. Without a process, or without a generation, nothing waits.
func TestInterval_restart(t *testing.T) {
	for _, test := range []struct {
		newest  uint64
		process Process
		wait    time.Duration
	}{{1, &fakeProcess{}, interval}, {0, &fakeProcess{}, 0}, {1, nil, 0}} {
		synctest.Test(t, func(t *testing.T) {
			i, app := NewInterval(interval), (&fakeApp{name: "app"}).target()
			app.Process = test.process
			newNotifier(t, Options{Targets: []Target{app}, Volume: &life{disk: newDisk(test.newest)}, Interval: i})
			if got := max(time.Until(i.End()), 0); got != test.wait {
				t.Errorf("%+v: the first publish waits for %v", test, got)
			}
			if err := i.Signal(7, sent); (err != nil) != (test.wait > 0) {
				t.Errorf("%+v: the first signal: %v", test, err)
			}
			time.Sleep(test.wait)
			if err := i.Signal(7, sent); test.wait > 0 && err != nil {
				t.Errorf("after the interval: %v", err)
			}
		})
	}
}

// TestPause_newerGeneration: a new generation may correct the failure, so it does not wait
// for the backoff or Retry-After of the old generation. Retry ends the delay as well.
func TestPause_newerGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		app.err = &Failure{Kind: "503", RetryAfter: 5 * time.Minute, Err: errors.New("503")}
		volume.publish()
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		time.Sleep(time.Minute)
		expect := func(attempts int, when string) {
			t.Helper()
			synctest.Wait()
			if got := app.attempted(); got != attempts {
				t.Errorf("%d attempts %s, want %d", got, when, attempts)
			}
		}
		n.Poke()
		expect(1, "after a poke without a change")
		volume.publish()
		n.Poke()
		expect(2, "after a newer generation")
		volume.publish()
		n.Poke()
		expect(2, "immediately after another")
		time.Sleep(newerInterval)
		expect(3, "after newerInterval")
		n.Retry()
		expect(4, "after Retry")
		app.set(func(a *fakeApp) { a.err = nil })
		time.Sleep(newerInterval)
		volume.publish()
		n.Poke()
		synctest.Wait()
		if got, want := app.notified(), []uint64{5}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
	})
}

// TestPause_newerGenerationResets: after long failures, a newer generation whose first attempt fails is
// attempted again after the first delay of the backoff.
func TestPause_newerGenerationResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app", err: errors.New("500")}
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		volume.publish()
		n.Poke()
		time.Sleep(2 * time.Minute)
		before := app.attempted()
		volume.publish()
		n.Poke()
		synctest.Wait()
		app.set(func(a *fakeApp) { a.err = nil })
		time.Sleep(backoffFirst)
		synctest.Wait()
		if got := app.notified(); app.attempted() != before+2 || !slices.Equal(got, []uint64{3}) {
			t.Errorf("notified = %v in %d attempts, want 3 in 2", got, app.attempted()-before)
		}
	})
}

// TestRetry_endsTheCurrentDelayOnly: without a failing target, Retry does not end a later delay, such as
// Retry-After. During an attempt, it ends the delay after this attempt.
func TestRetry_endsTheCurrentDelayOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		app.err = &Failure{Kind: "503", RetryAfter: time.Hour, Err: errors.New("503")}
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume, Splay: time.Second})
		defer stop()
		n.Retry()
		synctest.Wait()
		volume.publish()
		n.Poke()
		synctest.Wait()
		n.Retry() // during the splay
		time.Sleep(time.Minute)
		if got := app.attempted(); got != 1 {
			t.Errorf("%d attempts after a Retry before the first, want 1", got)
		}
		app.set(func(a *fakeApp) { a.observe = func(error) { a.observe = nil; n.Retry() } })
		n.Retry()
		synctest.Wait()
		if got := app.attempted(); got != 3 {
			t.Errorf("%d attempts after a Retry during the second, want 3", got)
		}
	})
}
