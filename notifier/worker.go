package notifier

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/secret-sync/secret-sync/internal/wake"
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
	poke    wake.Channel
	retry   wake.Channel

	// Used by the worker's goroutine only.
	unsaved   bool      // state.Notified is not on disk
	lastEarly time.Time // time of the last attempt started by a newer generation
	watch     watch     // of the process after its signal
	ends      ends

	mu    sync.Mutex // guards the fields below; only the worker's goroutine sets Notified
	state Status
	quiet time.Time // end of the interval after the last notification
}

// refresh determines whether a notification is pending and returns the state.
//
// Numbers only increase within a volume, so a record above the newest number belongs to
// a reset volume. The notification is then pending as well: otherwise the target would
// not be notified until the numbers reach the record. The exception is a reset volume
// that has reached the number of the record.
func (w *worker) refresh() Status {
	newest := w.Volume.Newest()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.state
	if w.target.Process != nil {
		s.Recipient = w.target.Process.Recipient()
	}
	s.Pending = newest > 0 && newest != s.Notified
	if !s.Pending {
		s.PendingSince = time.Time{}
	} else if s.PendingSince.IsZero() {
		s.PendingSince = time.Now()
	}
	return *s
}

func (w *worker) run(ctx context.Context) {
	defer w.stopWatching()
	for ctx.Err() == nil {
		if !w.refresh().Pending || w.isStopped() {
			w.idle(ctx)
			continue
		}
		w.stopWatching()
		wake.Sleep(ctx, rand.N(max(w.Splay, 1))) // retries are spread by the backoff
		wake.Sleep(ctx, time.Until(w.quietUntil()))
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
	case err := <-w.watch.result:
		w.survived(err)
	case <-retry:
		w.save()
	}
}

// attempt notifies the target and reports whether it succeeded. After a failure it
// waits until the next attempt is due.
func (w *worker) attempt(ctx context.Context, backoff *wake.Backoff) bool {
	changes := w.Volume.ChangesSince(w.state.Notified)
	began := time.Now()
	err := w.target.Notify(ctx, changes)
	switch {
	case err == nil:
		w.watchProcess(ctx, w.state.Notified, changes.Generation)
		w.succeed(changes.Generation, time.Since(began))
		return true
	case ctx.Err() == nil: // if ctx canceled the attempt, the target has not failed
		w.pause(ctx, w.fail(AsFailure(err), changes.Generation, backoff), changes.Generation)
	}
	return false
}

// newerInterval is the minimum time between two attempts started early by a newer
// generation.
const newerInterval = 10 * time.Second

// pause waits for delay. Retry ends it. A generation newer than the attempted generation
// ends it as well, because it may correct the cause of the failure, but not more often
// than every newerInterval: a rotating Secret must not overload an app while it is down.
func (w *worker) pause(ctx context.Context, delay time.Duration, attempted uint64) {
	end := time.Now().Add(delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-w.retry:
			return
		case <-w.poke:
			early := w.lastEarly.Add(newerInterval)
			if w.Volume.Newest() != attempted && early.Before(end) {
				if now := time.Now(); early.Before(now) {
					early = now
				}
				w.lastEarly, end = early, early
				timer.Reset(time.Until(early))
			}
		}
	}
}

func (w *worker) succeed(generation uint64, took time.Duration) {
	w.mu.Lock()
	w.state.Notified, w.state.PendingSince = generation, time.Time{}
	w.state.Error, w.state.Failures = "", 0
	w.state.Succeeded++
	w.quiet = time.Now().Add(w.target.Interval)
	w.mu.Unlock()
	logger := w.Logger
	if w.target.Process != nil {
		logger = logger.With("process", w.target.Process.Recipient())
	}
	logger.Info("notified the app", "generation", generation, "duration", took.String())
	w.save()
}

// quietUntil returns the end of the interval after the last notification.
func (w *worker) quietUntil() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quiet
}

// fail records a failure and returns the delay before the next attempt. Repetitions of
// a failure are logged at debug level, so hours of failure cause a single warning.
func (w *worker) fail(f *Failure, generation uint64, backoff *wake.Backoff) time.Duration {
	level, msg, delay := slog.LevelInfo, "waiting to notify the app", f.RetryAfter
	if !f.Waiting {
		level, msg, delay = slog.LevelWarn, "cannot notify the app, will try again", max(backoff.Next(), f.RetryAfter)
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
