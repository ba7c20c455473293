package notifier

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// A worker notifies a single target of the newest generation:
//
//  1. Compare the newest generation with the record. If they differ, a notification
//     is pending. After a crash it is pending again.
//  2. Wait for the splay. After a crash it is pending again.
//  3. Read the newest generation and the changes since the record. Reading them here
//     includes the generations published during the splay.
//  4. Notify the target. After a crash it is pending again, so the target may be
//     notified twice. Exactly-once delivery is impossible.
//  5. Save the record. If this fails, the worker does not repeat the notification
//     and retries the save. Only a crash repeats the notification.
type worker struct {
	Options // the Logger includes the target's name
	target  Target
	poke    chan struct{} // capacity 1
	unsaved bool          // state.Notified is not on disk

	mu    sync.Mutex
	state Status // guarded by mu; only the worker's goroutine sets Notified
}

// refresh determines whether a notification is pending and returns the state.
//
// Numbers only increase within a volume, so a record above the newest number belongs to
// a volume that was reset. The notification is then pending as well: otherwise the
// target would not be notified until the numbers reach the record. The exception is a
// reset volume that has reached the number of the record.
func (w *worker) refresh() Status {
	newest := w.Volume.Newest()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.state
	s.Pending = newest > 0 && newest != s.Notified
	if !s.Pending {
		s.PendingSince = time.Time{}
	} else if s.PendingSince.IsZero() {
		s.PendingSince = time.Now()
	}
	return *s
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !w.refresh().Pending {
			w.idle(ctx)
			continue
		}
		sleep(ctx, rand.N(max(w.Splay, 1))) // retries are spread by the backoff
		for backoff := newBackoff(); ctx.Err() == nil && !w.attempt(ctx, &backoff); {
		}
	}
}

// idle waits for a poke. Meanwhile it retries a failed save, because a full volume may
// have space again.
func (w *worker) idle(ctx context.Context) {
	var retry <-chan time.Time
	if w.unsaved {
		retry = time.After(backoffMax)
	}
	select {
	case <-ctx.Done():
	case <-w.poke:
	case <-retry:
		w.save()
	}
}

// attempt notifies the target and reports whether it succeeded. After a failure it
// waits until the next attempt is due. A poke does not shorten this wait: a rotating
// Secret must not cause more calls to an app that is down.
func (w *worker) attempt(ctx context.Context, backoff *wait.Backoff) bool {
	changes := w.Volume.ChangesSince(w.state.Notified)
	began := time.Now()
	err := w.target.Notify(ctx, changes)
	switch {
	case err == nil:
		w.succeed(changes.Generation, time.Since(began))
		return true
	case ctx.Err() == nil: // an attempt that ctx canceled is no failure of the target
		sleep(ctx, w.fail(AsFailure(err), changes.Generation, backoff))
	}
	return false
}

func (w *worker) succeed(generation uint64, took time.Duration) {
	w.mu.Lock()
	w.state.Notified, w.state.PendingSince = generation, time.Time{}
	w.state.Error, w.state.Failures = "", 0
	w.state.Succeeded++
	w.mu.Unlock()
	w.Logger.Info("notified the app", "generation", generation, "duration", took.String())
	w.save()
}

// fail records a failure and returns the delay before the next attempt. Repetitions of
// a failure are logged at debug level, so a target that is down for hours causes a
// single warning.
func (w *worker) fail(f *Failure, generation uint64, backoff *wait.Backoff) time.Duration {
	level, msg, delay := slog.LevelInfo, "waiting to notify the app", f.RetryAfter
	if !f.Waiting {
		level, msg, delay = slog.LevelWarn, "cannot notify the app, will try again", max(backoff.Step(), f.RetryAfter)
	}
	if f.RetryWithin > 0 {
		delay = min(delay, f.RetryWithin)
	}
	before := w.countFailure(f)
	if before.Error == f.Kind {
		level = slog.LevelDebug
	}
	w.Logger.Log(context.Background(), level, msg,
		"generation", generation, "err", f, "retry_in", delay.Round(time.Millisecond).String())
	if !f.Waiting && before.Failures == 0 {
		w.Report(w.target.Name, f)
	}
	return delay
}

// countFailure updates the state and returns the state before f.
func (w *worker) countFailure(f *Failure) Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.state
	w.state.Error = f.Kind
	if !f.Waiting {
		w.state.Failed++
		w.state.Failures++
	}
	return before
}

// sleep waits for d or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
