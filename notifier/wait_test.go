package notifier

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// Waiting is not failing, and lasts as long as the target says.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		began := time.Now()
		volume, app := settled(1), &fakeApp{name: "app"}
		app.limit = func(uint64) error {
			if left := 5*time.Second - time.Since(began); left > 0 {
				return fmt.Errorf("wrapped: %w", &Failure{Kind: "too young", Waiting: true, RetryAfter: left, Err: errors.New("too young")})
			}
			return nil
		}
		volume.publish()
		n, stop := start(t, Options{
			Targets: []Target{app.target()}, Volume: volume, Logger: log.logger(slog.LevelInfo),
			Report: func(_ string, err error) { t.Errorf("reported: %v", err) },
		})
		defer stop()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got, want := n.Status()[0], (Status{Target: "app", Notified: 2, Succeeded: 1}); got != want {
			t.Errorf("status = %+v, want %+v", got, want)
		}
		if got := app.tried(); got != 2 {
			t.Errorf("%d tries, want 2: one too early, one in time", got)
		}
		if log.count("level=WARN") != 0 {
			t.Errorf("a warning for a wait:\n%s", &log)
		}
	})
}

// Retry-After: the wait is the longer one of it and the backoff.
func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := settled(1), &fakeApp{name: "app"}
		app.err = &Failure{Kind: "503", RetryAfter: 2 * time.Minute, Err: errors.New("503")}
		volume.publish()
		_, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		time.Sleep(2*time.Minute - 1)
		synctest.Wait()
		if got := app.tried(); got != 1 {
			t.Errorf("%d tries before the time, want 1", got)
		}
		time.Sleep(1 * time.Nanosecond)
		synctest.Wait()
		if got := app.tried(); got != 2 {
			t.Errorf("%d tries at the time, want 2", got)
		}
	})
}

// RetryWithin: however often it failed, the target is notified this soon after its
// return, and not tried much more often.
func TestRetryWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const within = time.Second
		volume, app := settled(1), &fakeApp{name: "app"}
		app.err = &Failure{Kind: "no PID file", RetryWithin: within, Err: errors.New("no PID file")}
		volume.publish()
		_, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		time.Sleep(10 * time.Minute) // deep in the backoff
		synctest.Wait()
		if got, most := app.tried(), int(10*time.Minute/within)+10; got > most || got < most-20 {
			t.Errorf("%d tries in ten minutes, want about %d", got, most)
		}
		app.set(func(a *fakeApp) { a.err = nil })
		time.Sleep(within)
		synctest.Wait()
		if got := app.notified(); len(got) != 1 {
			t.Errorf("notified = %v within %v, want one", got, within)
		}
	})
}
