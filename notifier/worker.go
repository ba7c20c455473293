package notifier

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// worker owes one target the newest generation.
//
// The order of a notification, and what a crash after each step leaves:
//
//  1. Newest differs from the record: it is owed. Crash: owed after the restart.
//  2. Splay. Crash: the same.
//  3. Take the newest generation and the changes since the record, now and not
//     in step 1, so that all that came meanwhile is in it.
//  4. Tell. Crash in it or after it: still owed, and told a second time: at
//     least once, not exactly once, which nobody can promise an app.
//  5. Keep the record. If the disk refuses, this process still knows, tells
//     nothing twice, and tries to write again; only a crash tells it twice.
type worker struct {
	target Target
	volume Volume
	splay  time.Duration
	logger *slog.Logger
	report func(string, error)
	poke   chan struct{} // capacity one: look again

	mu                sync.Mutex // guards what Status reads as well
	told              uint64
	succeeded, failed uint64

	// Below: the worker's goroutine alone, once it runs.
	splayed bool   // for what is owed now
	tries   int    // failed ones since the last success
	failing bool   // and Report knows
	reason  string // of the last failure or wait, "" for none
	unsaved bool   // told is not on disk
	saves   int    // failed ones since the last that worked
	saveAt  time.Time
}

// Waker is a Target that may know sooner than the backoff when a try is worth
// it.
type Waker interface {
	// Wake returns true as soon as another try is worth it, false when ctx is
	// done or when it cannot know.
	Wake(ctx context.Context) bool
}

// wakePause is the least time between two tries when a Waker asks for more: a
// file that is written without end must not become tries without end.
const wakePause = 100 * time.Millisecond

func newWorker(target Target, opts Options) *worker {
	w := &worker{
		target: target, volume: opts.Volume, splay: opts.Splay, report: opts.Report,
		logger: opts.Logger.With("target", target.Name()),
		poke:   make(chan struct{}, 1),
	}
	w.settle(opts.NotifyFirst)
	return w
}

// owed: is there a generation that the target was not told?
//
// Numbers only go up in one volume, so a record above the newest number is from
// a volume that was reset below it. Comparing with < would silence the target
// until the numbers are up there again, perhaps for ever; so any difference is
// owed, and the first success puts the record right. What remains unseen is a
// reset volume that has come to the very number of the record.
func owed(newest, told uint64) bool { return newest > 0 && newest != told }

func (w *worker) owed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return owed(w.volume.Newest(), w.told)
}

func (w *worker) status() Status {
	pending := w.owed()
	w.mu.Lock()
	defer w.mu.Unlock()
	return Status{Target: w.target.Name(), Pending: pending, Succeeded: w.succeeded, Failed: w.failed}
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.save()
		switch {
		case !w.owed():
			w.idle(ctx)
		case !w.splayed:
			// Only before the first try: the backoff of the others is random too.
			w.splayed = sleep(ctx, w.randomSplay())
		default:
			w.try(ctx)
		}
	}
}

// idle waits until there may be something to do.
func (w *worker) idle(ctx context.Context) {
	var save <-chan time.Time
	if w.unsaved {
		save = time.After(time.Until(w.saveAt))
	}
	select {
	case <-ctx.Done():
	case <-w.poke:
	case <-save:
	}
}

func (w *worker) try(ctx context.Context) {
	changes := w.volume.ChangesSince(w.told)
	began := time.Now()
	err := w.target.Tell(ctx, changes)
	switch {
	case err == nil:
		w.succeed(changes.Generation, time.Since(began))
	case ctx.Err() != nil: // ended by us: not the target's failure
	default:
		w.pause(ctx, w.fail(asFailure(err), changes.Generation))
	}
}

func (w *worker) succeed(generation uint64, took time.Duration) {
	w.mu.Lock()
	w.told = generation
	w.succeeded++
	w.mu.Unlock()
	w.logger.Info("told the app", "generation", generation, "dur", took.String())
	w.splayed, w.tries, w.reason = false, 0, ""
	w.unsaved, w.saveAt = true, time.Time{}
	w.save()
	if w.failing {
		w.failing = false
		w.tellReport(nil)
	}
}

// fail takes note and returns how long to wait.
func (w *worker) fail(f *failure, generation uint64) time.Duration {
	if f.waiting {
		w.logState(slog.LevelInfo, "waiting to tell the app", f, generation, f.after)
		return max(f.after, 0)
	}
	delay := max(backoff(w.tries), f.after)
	w.tries++
	w.mu.Lock()
	w.failed++
	w.mu.Unlock()
	w.logState(slog.LevelWarn, "cannot tell the app, will try again", f, generation, delay)
	if !w.failing {
		w.failing = true
		w.tellReport(f)
	}
	return delay
}

// logState logs a state when it is a new one, and its repetitions for debugging
// alone: a target that is down for hours is one line.
func (w *worker) logState(level slog.Level, msg string, f *failure, generation uint64, delay time.Duration) {
	if w.reason == f.reason {
		level = slog.LevelDebug
	}
	w.reason = f.reason
	w.logger.Log(context.Background(), level, msg, "generation", generation, "err", f, "retry_in", delay.Round(time.Millisecond).String())
}

func (w *worker) tellReport(err error) {
	if w.report != nil {
		w.report(w.target.Name(), err)
	}
}

// pause waits for d, or until the target knows that a try is worth it. A poke
// does not end it: the next try tells the newest generation anyway, and an app
// that is down is not to be hammered because its Secret rotates.
func (w *worker) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if waker, ok := w.target.(Waker); ok && sleep(ctx, wakePause) && waker.Wake(ctx) {
		return
	}
	<-ctx.Done()
}

func (w *worker) randomSplay() time.Duration {
	if w.splay <= 0 {
		return 0
	}
	return rand.N(w.splay)
}

// sleep waits for d; false when ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
