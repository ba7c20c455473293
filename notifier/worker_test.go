package notifier

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// notifiedOf returns a disk whose newest generation is n and whose target "app" is notified of
// n.
func notifiedOf(n uint64) *life {
	d := newDisk(n)
	d.records["app"] = notification.TargetRecord{Notified: n}
	return &life{disk: d}
}

// TestRun_changesDuringNotification: they become a single further notification.
func TestRun_changesDuringNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app", block: make(chan struct{})}
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		for range 5 {
			volume.publish()
			n.Poke()
			synctest.Wait()
		}
		if !n.Status()[0].Pending {
			t.Error("not pending during the notification")
		}
		time.Sleep(time.Minute)
		app.block <- struct{}{}
		synctest.Wait()
		if got := n.Status()[0].PendingSince; !got.Equal(time.Now()) {
			t.Errorf("the next notification is pending since %v, want %v", got, time.Now())
		}
		close(app.block)
		synctest.Wait()
		if got, want := app.notified(), []uint64{2, 6}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
	})
}

// TestSplay_delays: the delay before a notification is random.
func TestSplay_delays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const splay = time.Minute
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume, Splay: splay})
		defer stop()
		var waits []time.Duration
		for range 20 {
			began := time.Now()
			app.set(func(a *fakeApp) { a.observe = func(error) { waits = append(waits, time.Since(began)) } })
			volume.publish()
			n.Poke()
			time.Sleep(splay)
			synctest.Wait()
		}
		if len(waits) != 20 || slices.Max(waits) > splay {
			t.Fatalf("waits = %v, want 20 of at most %v", waits, splay)
		}
		if spread := slices.Max(waits) - slices.Min(waits); spread < splay/4 {
			t.Errorf("waits spread over %v of %v: not random", spread, splay)
		}
	})
}

// TestSplay_takesTheNewest: the notification contains the generations published during the
// splay.
func TestSplay_takesTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume, Splay: time.Hour})
		defer stop()
		for range 3 {
			volume.publish()
			n.Poke()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := app.notified(), []uint64{4}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
	})
}

// TestBackoff_downForHours: while a target is down, the newer generations restart the backoff at most every
// newerInterval, after 0, 0.5, 1.5, 3.5 and 7.5 s at most. The log contains a single line, and
// Report is called once. When the target is back, it is notified once, of the newest generation.
func TestBackoff_downForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testsupport.Log
		var reports []error
		volume, app := notifiedOf(1), &fakeApp{name: "app", err: errors.New("connection refused")}
		n, stop := start(t, Options{
			Targets: []Target{app.target()}, Volume: volume, Logger: log.Logger(slog.LevelInfo),
			Report: func(_ string, err error) { reports = append(reports, err) },
		})
		defer stop()
		const hours = 5
		for range hours * 3600 {
			volume.publish()
			n.Poke()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		attempts, most := app.attempted(), 5*hours*3600/int(newerInterval/time.Second)+5
		if attempts > most || attempts < hours*3600/30 {
			t.Errorf("%d attempts in %d hours, want at most %d", attempts, hours, most)
		}
		if log.Count("target=app") != 1 || log.Count("level=WARN") != 1 || len(reports) != 1 || reports[0] == nil {
			t.Errorf("reports %v: want 1, and 1 warning that names the target:\n%s", reports, &log)
		}
		app.set(func(a *fakeApp) { a.err = nil })
		time.Sleep(backoffMax)
		synctest.Wait()
		if got, want := app.notified(), []uint64{1 + hours*3600}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
		if len(reports) != 1 {
			t.Errorf("reports = %v, want none for the recovery", reports)
		}
		got := n.Status()[0]
		want := state{Name: "app", Notified: 1 + hours*3600, Successes: 1, Failed: uint64(app.attempted() - 1)}
		if got != want {
			t.Errorf("status = %+v, want %+v", got, want)
		}
	})
}

// TestBackoff_restarts: after a success, the backoff starts with its first delay.
func TestBackoff_restarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app", err: errors.New("down")}
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		for range 3 {
			app.set(func(a *fakeApp) { a.err = errors.New("down") })
			volume.publish()
			n.Poke()
			time.Sleep(10 * time.Minute)
			app.set(func(a *fakeApp) { a.err = nil })
			time.Sleep(backoffMax)
			synctest.Wait()
			before := app.attempted()
			app.set(func(a *fakeApp) { a.err = errors.New("down") })
			volume.publish()
			n.Poke()
			time.Sleep(backoffFirst)
			synctest.Wait()
			if got := app.attempted() - before; got != 2 {
				t.Fatalf("%d attempts in the first %v, want 2", got, backoffFirst)
			}
			app.set(func(a *fakeApp) { a.err = nil })
			time.Sleep(backoffMax)
		}
	})
}

// TestTargets_areIndependent: a failing target delays no other target.
func TestTargets_areIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume := &life{disk: newDisk(1)}
		down, stuck, fine := &fakeApp{name: "down", err: errors.New("down")}, &fakeApp{name: "stuck",
			block: make(chan struct{})}, &fakeApp{name: "fine"}
		n, stop := start(t, Options{Targets: []Target{down.target(), stuck.target(), fine.target()}, Volume: volume})
		defer stop()
		for range 3 {
			volume.publish()
			n.Poke()
			synctest.Wait()
		}
		if got, want := fine.notified(), []uint64{2, 3, 4}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
		if got := volume.record("stuck"); got != 1 {
			t.Errorf("the record of the blocked target = %d, want 1", got)
		}
	})
}

// TestRun_noChange: without a change, no target is notified and nothing is written.
func TestRun_noChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(3), &fakeApp{name: "app"}
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		for range 100 {
			n.Poke()
			time.Sleep(time.Minute)
		}
		if app.attempted() != 0 || volume.writes != 0 {
			t.Errorf("%d attempts, %d writes, want none", app.attempted(), volume.writes)
		}
	})
}

// TestRun_ends: Run returns immediately in every state, and the notification remains pending.
func TestRun_ends(t *testing.T) {
	for name, prepare := range map[string]func(*fakeApp, *Options){
		"idle":    func(_ *fakeApp, o *Options) { o.Volume.(*life).newest = 1 },
		"splay":   func(_ *fakeApp, o *Options) { o.Splay = 1000 * time.Hour },
		"notify":  func(a *fakeApp, _ *Options) { a.block = make(chan struct{}) },
		"backoff": func(a *fakeApp, _ *Options) { a.err = errors.New("down") },
		"record":  func(_ *fakeApp, o *Options) { o.Volume.(*life).full = true },
		"none":    func(_ *fakeApp, o *Options) { o.Targets = nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				volume, app := notifiedOf(1), &fakeApp{name: "app"}
				volume.publish()
				opts := Options{Targets: []Target{app.target()}, Volume: volume}
				prepare(app, &opts)
				n, stop := start(t, opts)
				time.Sleep(time.Minute)
				began := time.Now()
				stop()
				if took := time.Since(began); took > 0 {
					t.Errorf("Run ended after %v", took)
				}
				for _, s := range n.Status() {
					if name == "notify" && s.Failed != 0 {
						t.Errorf("status = %+v: the end of the sidecar must not count as a failure", s)
					}
				}
			})
		})
	}
}

// TestRecord_atTheEnd: a notification is recorded if it succeeds while the sidecar ends.
// Otherwise the next process would repeat it.
func TestRecord_atTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		n := newNotifier(t, Options{Targets: []Target{app.target()}, Volume: volume})
		ctx, cancel := context.WithCancel(t.Context())
		app.observe = func(error) { cancel() }
		volume.publish()
		if err := n.Run(ctx); err != nil || volume.record("app") != 2 {
			t.Errorf("record = %d, %v, want 2", volume.record("app"), err)
		}
	})
}

// TestAsFailure_otherErrors: the kind of another error is a constant, because its text may contain the name of a key.
func TestAsFailure_otherErrors(t *testing.T) {
	err := errors.New("open /secrets/db/password: no such file")
	if f := AsFailure(err); f.Kind != "other" || f.Err != err {
		t.Errorf("got %+v, want the kind other", f)
	}
}
