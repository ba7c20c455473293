package notifier

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestInterval: two notifications have a minimum distance, and PublishAfter returns its end.
// The first notification is not delayed.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 500 * time.Millisecond
		volume, app := &life{disk: newDisk(0)}, &fakeApp{name: "app"}
		var times []time.Time
		app.observe = func(error) { times = append(times, time.Now()) }
		target := app.target()
		target.Interval = interval
		n, stop := start(t, Options{Targets: []Target{target}, Volume: volume, NotifyFirst: true})
		defer stop()
		if !n.PublishAfter().IsZero() {
			t.Error("the first publish is delayed")
		}
		began := time.Now()
		for range 3 {
			volume.publish()
			n.Poke()
			synctest.Wait()
		}
		if got := n.PublishAfter().Sub(began); got != interval {
			t.Errorf("the next publish waits for %v, want %v", got, interval)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(times) != 2 || !times[0].Equal(began) || times[1].Sub(times[0]) != interval {
			t.Errorf("notified at %v, want twice, with a distance of %v", times, interval)
		}
	})
}

// TestInterval_restart: a restarted sidecar does not know when the earlier sidecar notified the target, so
// the interval begins with the start.
func TestInterval_restart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 500 * time.Millisecond
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		volume.publish()
		var notified time.Time
		app.observe = func(error) { notified = time.Now() }
		target := app.target()
		target.Interval = interval
		began := time.Now()
		n, stop := start(t, Options{Targets: []Target{target}, Volume: volume})
		defer stop()
		if got := n.PublishAfter().Sub(began); got != interval {
			t.Errorf("the first publish waits for %v, want %v", got, interval)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := notified.Sub(began); got != interval {
			t.Errorf("notified %v after the start, want %v", got, interval)
		}
	})
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
