package notifier

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// worker notifies one target of the newest generation.
//
// The order of a notification, and what a crash after each step leaves:
//
//  1. Newest differs from the record: a notification is pending. After a crash
//     it is pending again.
//  2. Splay. Crash: the same.
//  3. Take the newest generation and the changes since the record. This is not
//     part of step 1, so that it includes what was published meanwhile.
//  4. Notify. Crash during or after it: still pending, and the target is notified
//     twice. At least once is all that can be promised.
//  5. Save the record. If the disk refuses, this process remembers, repeats no
//     notification, and tries to save again; only a crash repeats it.
type worker struct {
	Options // its Logger names the target
	target  Target
	poke    chan struct{} // capacity one: look again
	unsaved bool          // state.Notified is not on disk, which is logged

	mu    sync.Mutex
	state Status // under mu; Notified changes in the worker's goroutine alone
}

// refresh returns the state after it has decided whether a notification is pending.
//
// Numbers only go up in one volume, so a record above the newest number comes
// from a volume that was reset. Any difference counts: with < the target would
// hear nothing until the numbers are up there again. A reset volume that has come
// to the very number of the record goes unnoticed.
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
		// Only before the first try: the backoff of the others is random too.
		sleep(ctx, rand.N(max(w.Splay, 1)))
		for backoff := newBackoff(); ctx.Err() == nil && !w.try(ctx, &backoff); {
		}
	}
}

// idle waits until there may be something to do.
func (w *worker) idle(ctx context.Context) {
	var retry <-chan time.Time
	if w.unsaved {
		retry = time.After(backoffMax) // a volume that is full has room again some day
	}
	select {
	case <-ctx.Done():
	case <-w.poke:
	case <-retry:
		w.save()
	}
}

// try reports whether the target was notified. If not, it has waited until the
// next try is due. A poke does not end that wait: an app that is down should not
// be called more often because its Secret rotates.
func (w *worker) try(ctx context.Context, backoff *wait.Backoff) bool {
	changes := w.Volume.ChangesSince(w.state.Notified)
	began := time.Now()
	err := w.target.Notify(ctx, changes)
	switch {
	case err == nil:
		w.succeed(changes.Generation, time.Since(began))
		return true
	case ctx.Err() == nil: // otherwise we ended it: not the target's failure
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
	w.Logger.Info("notified the app", "generation", generation, "dur", took.String())
	w.save()
}

// fail records a failure and returns how long to wait. Its repetitions are logged
// at debug level only: a target that is down for hours is one line.
func (w *worker) fail(f *Failure, generation uint64, backoff *wait.Backoff) time.Duration {
	level, msg, delay := slog.LevelInfo, "waiting to notify the app", f.RetryAfter
	if !f.Waiting {
		level, msg, delay = slog.LevelWarn, "cannot notify the app, will try again", max(backoff.Step(), f.RetryAfter)
	}
	if f.RetryWithin > 0 {
		delay = min(delay, f.RetryWithin)
	}
	w.mu.Lock()
	before := w.state
	w.state.Error = f.Kind
	if !f.Waiting {
		w.state.Failed++
		w.state.Failures++
	}
	w.mu.Unlock()
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

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
