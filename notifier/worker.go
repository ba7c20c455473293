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
	target Target
	volume Volume
	splay  time.Duration
	logger *slog.Logger
	report func(string, error)
	poke   chan struct{} // capacity one: look again

	mu                sync.Mutex // guards what Status reads too
	notified          uint64
	succeeded, failed uint64
	failures          uint64    // since the last success
	since             time.Time // the notification is pending; zero when none is
	kind              string    // of the last failure or wait, "" for none

	// What follows belongs to the worker's goroutine once that runs.
	splayed     bool // before the notification that is pending
	failing     bool // and Report knows
	backoff     wait.Backoff
	unsaved     bool // notified is not on disk
	saveFailing bool // and the log says so
}

// wakePause is the least time between two tries when a Waker asks for more: a
// file that changes all the time must not cause tries all the time.
const wakePause = 100 * time.Millisecond

func newWorker(target Target, opts Options) *worker {
	w := &worker{
		target: target, volume: opts.Volume, splay: opts.Splay, report: opts.Report,
		logger: opts.Logger.With("target", target.Name()), poke: make(chan struct{}, 1), backoff: newBackoff(),
	}
	w.settle(opts.NotifyFirst)
	return w
}

// status also decides whether a notification is pending.
//
// Numbers only go up in one volume, so a record above the newest number comes
// from a volume that was reset. With < the target would hear nothing until the
// numbers are up there again; so any difference counts, and the first success
// corrects the record. A reset volume that has come to the very number of the
// record goes unnoticed.
func (w *worker) status() Status {
	newest := w.volume.Newest()
	w.mu.Lock()
	defer w.mu.Unlock()
	pending := newest > 0 && newest != w.notified
	if !pending {
		w.since = time.Time{}
	} else if w.since.IsZero() {
		w.since = time.Now()
	}
	return Status{
		Target: w.target.Name(), Notified: w.notified, Pending: pending, PendingSince: w.since,
		Error: w.kind, Succeeded: w.succeeded, Failed: w.failed, Failures: w.failures,
	}
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.save()
		switch {
		case !w.status().Pending:
			w.idle(ctx)
		case !w.splayed:
			// Only before the first try: the backoff of the others is random too.
			w.splayed = sleep(ctx, rand.N(max(w.splay, 1)))
		default:
			w.try(ctx)
		}
	}
}

// idle waits until there may be something to do.
func (w *worker) idle(ctx context.Context) {
	var save <-chan time.Time
	if w.unsaved {
		save = time.After(saveInterval)
	}
	select {
	case <-ctx.Done():
	case <-w.poke:
	case <-save:
	}
}

func (w *worker) try(ctx context.Context) {
	changes := w.volume.ChangesSince(w.notified)
	began := time.Now()
	err := w.target.Notify(ctx, changes)
	switch {
	case err == nil:
		w.succeed(changes.Generation, time.Since(began))
	case ctx.Err() != nil: // ended by us: not the target's failure
	default:
		w.pause(ctx, w.fail(AsFailure(err), changes.Generation))
	}
}

func (w *worker) succeed(generation uint64, took time.Duration) {
	w.mu.Lock()
	w.notified, w.kind = generation, ""
	w.succeeded++
	w.failures, w.since = 0, time.Time{}
	w.mu.Unlock()
	w.logger.Info("notified the app", "generation", generation, "dur", took.String())
	w.splayed, w.backoff = false, newBackoff()
	w.unsaved = true
	w.save()
	if w.failing {
		w.failing = false
		w.report(w.target.Name(), nil)
	}
}

// fail takes note of a failure and returns how long to wait.
func (w *worker) fail(f *Failure, generation uint64) time.Duration {
	if f.Waiting {
		w.logState(slog.LevelInfo, "waiting to notify the app", f, generation, f.RetryAfter)
		return f.RetryAfter
	}
	delay := max(w.backoff.Step(), f.RetryAfter)
	w.logState(slog.LevelWarn, "cannot notify the app, will try again", f, generation, delay)
	w.mu.Lock()
	w.failed++
	w.failures++
	w.mu.Unlock()
	if !w.failing {
		w.failing = true
		w.report(w.target.Name(), f)
	}
	return delay
}

// logState logs a new kind of failure, and its repetitions at debug level: a
// target that is down for hours is one line.
func (w *worker) logState(level slog.Level, msg string, f *Failure, generation uint64, delay time.Duration) {
	w.mu.Lock()
	if w.kind == f.Kind {
		level = slog.LevelDebug
	}
	w.kind = f.Kind
	w.mu.Unlock()
	w.logger.Log(context.Background(), level, msg,
		"generation", generation, "err", f, "retry_in", delay.Round(time.Millisecond).String())
}

// pause waits for d, or until the target knows that a retry is worth it. A poke
// does not end it: the next try takes the newest generation anyway, and an app
// that is down should not be called more often because its Secret rotates.
func (w *worker) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if waker, ok := w.target.(Waker); ok && sleep(ctx, wakePause) && waker.Wake(ctx) {
		return
	}
	<-ctx.Done()
}

// sleep waits for d; false when ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
