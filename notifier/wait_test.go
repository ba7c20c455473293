package notifier

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestFailure_waiting: a wait is no failure and lasts as long as the target requests.
func TestFailure_waiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testsupport.Log
		began := time.Now()
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		app.limit = func(uint64) error {
			if left := 5*time.Second - time.Since(began); left > 0 {
				return fmt.Errorf("wrapped: %w",
					&Failure{Kind: "too young", Waiting: true, RetryAfter: left, Err: errors.New("too young")})
			}
			return nil
		}
		volume.publish()
		n, stop := start(t, Options{
			Targets: []Target{app.target()}, Volume: volume, Logger: log.Logger(slog.LevelInfo),
			Report: func(_ string, err error) { t.Errorf("reported: %v", err) },
		})
		defer stop()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		got := n.Status()[0]
		if want := (state{Name: "app", Notified: 2, Successes: 1}); got != want {
			t.Errorf("status = %+v, want %+v", got, want)
		}
		if got := app.attempted(); got != 2 {
			t.Errorf("%d attempts, want 2: the first too early, the second in time", got)
		}
		if log.Count("level=WARN") != 0 {
			t.Errorf("the log contains a warning:\n%s", &log)
		}
	})
}

// TestFailure_retryAfter: the delay is at least RetryAfter.
func TestFailure_retryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		app.err = &Failure{Kind: "503", RetryAfter: 2 * time.Minute, Err: errors.New("503")}
		volume.publish()
		_, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		time.Sleep(2*time.Minute - 1)
		synctest.Wait()
		if got := app.attempted(); got != 1 {
			t.Errorf("%d attempts before the delay, want 1", got)
		}
		time.Sleep(1 * time.Nanosecond)
		synctest.Wait()
		if got := app.attempted(); got != 2 {
			t.Errorf("%d attempts after the delay, want 2", got)
		}
	})
}

// TestFailure_retryWithin: after any number of failures, the target is notified within this time
// after it recovers. The number of attempts is limited accordingly.
func TestFailure_retryWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const within = time.Second
		volume, app := notifiedOf(1), &fakeApp{name: "app"}
		app.err = &Failure{Kind: "no PID file", RetryWithin: within, Err: errors.New("no PID file")}
		volume.publish()
		_, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		time.Sleep(10 * time.Minute) // the backoff is at its maximum
		synctest.Wait()
		if got, most := app.attempted(), int(10*time.Minute/within)+10; got > most || got < most-20 {
			t.Errorf("%d attempts in ten minutes, want about %d", got, most)
		}
		app.set(func(a *fakeApp) { a.err = nil })
		time.Sleep(within)
		synctest.Wait()
		if got := app.notified(); len(got) != 1 {
			t.Errorf("notified = %v within %v, want 1 notification", got, within)
		}
	})
}
