package notifier

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/wake"
)

const (
	backoffMax      = 30 * time.Second
	newerInterval   = 10 * time.Second      // minimum between two attempts started early by a newer generation
	observeInterval = 50 * time.Millisecond // between two checks whether a signaled process is still running
)

// A worker notifies a single target of the newest generation:
//
//  1. Compare the newest generation with the record. If they differ, a notification is pending.
//  2. Wait for the splay.
//  3. Read the newest generation and the changes since the record, including those during the wait.
//  4. Notify the target.
//  5. Save the record. If this fails, the worker retries the save only.
//
// After a crash before the end of step 5, the notification is pending again. Exactly-once delivery is impossible.
type worker struct {
	Options // the Logger includes the target's name
	target  Target
	poke    wake.Channel
	retry   atomic.Bool // the poke ends the current delay

	// Used by the worker's goroutine only.
	unsaved   bool      // record is not on disk
	lastEarly time.Time // of the last attempt started early by a newer generation; it may be in the future

	mu     sync.Mutex // guards state, and writes to record
	state  status.Target
	record notification.TargetRecord // written by the worker's goroutine only
}

// refresh determines whether a notification is pending and returns the state. Numbers only increase within a volume, so
// a record above the newest number belongs to a reset volume: the notification is then pending too.
func (w *worker) refresh() status.Target {
	newest := w.Volume.Newest()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.state
	s.Notified, s.Observing = w.record.Notified, w.record.Observing
	s.Pending = newest > 0 && newest != s.Notified
	if !s.Pending {
		s.PendingSince = time.Time{}
	} else if s.PendingSince.IsZero() {
		s.PendingSince = time.Now().UTC()
	}
	return *s
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.observe()
		if !w.refresh().Pending || w.isHeldBack() {
			w.wait(ctx, time.Now().Add(backoffMax))
			if w.unsaved { // a full volume may have space again
				w.save(w.record)
			}
			continue
		}
		for end := time.Now().Add(rand.N(max(w.Splay, 1))); w.wait(ctx, end); { // pokes do not end it
		}
		backoff := wake.NewBackoff(backoffMax)
		for ctx.Err() == nil && !w.isHeldBack() {
			w.retry.Store(false) // this attempt fulfills an earlier Retry
			changes, began := w.Volume.ChangesSince(w.record.Notified), time.Now()
			err := w.target.Notify(ctx, changes)
			if err == nil {
				w.succeed(changes.Generation, time.Since(began))
				break
			}
			if ctx.Err() == nil { // if ctx canceled the attempt, the target has not failed
				delay := w.fail(AsFailure(err), changes.Generation, &backoff)
				w.pause(ctx, delay, changes.Generation, &backoff)
			}
		}
	}
}

// wait waits until a time and observes the process meanwhile. It reports whether a poke ended it.
func (w *worker) wait(ctx context.Context, end time.Time) (poked bool) {
	for ctx.Err() == nil && !poked && time.Now().Before(end) {
		next := time.Until(end)
		if w.record.Observing {
			next = min(next, observeInterval)
		}
		select {
		case <-ctx.Done():
		case <-w.poke:
			poked = true
		case <-time.After(next):
		}
		w.observe()
	}
	return poked
}

// pause waits for delay. Retry ends it. A generation newer than the attempted generation ends it and resets
// the backoff, because it may correct the cause of the failure, but not more often than every newerInterval:
// a rotating Secret must not overload an app while it is down.
func (w *worker) pause(ctx context.Context, delay time.Duration, attempted uint64, backoff *wake.Backoff) {
	for end := time.Now().Add(delay); w.wait(ctx, end) && !w.retry.Load(); {
		early := max(time.Until(w.lastEarly.Add(newerInterval)), 0)
		if w.Volume.Newest() != attempted && early < time.Until(end) {
			end = time.Now().Add(early)
			w.lastEarly = end
			*backoff = wake.NewBackoff(backoffMax)
		}
	}
}

func (w *worker) succeed(generation uint64, took time.Duration) {
	next := w.record
	w.mu.Lock()
	s, logger := &w.state, w.Logger
	s.PendingSince, s.Error, s.Failures = time.Time{}, "", 0
	s.Successes++
	if w.target.Process != nil {
		next.Observing, next.Previous = true, next.Notified
		s.Recipient, next.Process = w.target.Process.Recipient(), w.target.Process.State()
		logger = logger.With("process", s.Recipient)
	}
	w.mu.Unlock()
	logger.Info("notified the app", "generation", generation, "duration", took.String())
	next.Notified = generation
	w.save(next)
}

// fail records a failure and returns the delay before the next attempt. Hours of failure cause a single warning.
func (w *worker) fail(f *Failure, generation uint64, backoff *wake.Backoff) time.Duration {
	level, msg, delay := slog.LevelInfo, "waiting to notify the app", f.RetryAfter
	repeated, report := w.state.Error == f.Kind, w.state.Failures == 0 && !f.Waiting
	if w.count(f); !f.Waiting {
		level, msg, delay = slog.LevelWarn, "cannot notify the app, will try again", max(backoff.Step(), f.RetryAfter)
	}
	if f.RetryWithin > 0 {
		delay = min(delay, f.RetryWithin)
	}
	if repeated {
		level = slog.LevelDebug
	}
	w.Logger.Log(context.Background(), level, msg,
		"generation", generation, "err", f, "retry_in", delay.Round(time.Millisecond).String())
	if report {
		w.Report(w.target.Name, f)
	}
	return delay
}

// count adds a failure to the state. A wait is no failure.
func (w *worker) count(f *Failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.Error = f.Kind; !f.Waiting {
		w.state.Failed++
		w.state.Failures++
	}
}

// restore sets the record to that of an earlier process. A target without a record is new in the configuration. If
// other records exist, it starts with their lowest generation, because the app may have missed the later ones. If no
// record exists, it starts with the current generation, because the app starts later.
//
// In an empty volume, the target counts as notified of generation 1, or of none with NotifyFirst. This is recorded in
// advance: after a crash between the first publish and its notification, the next process could not tell whether
// generation 1 is pending. The present setting replaces such a record of 0 or 1. With a higher record, the volume
// lost its generations.
func (w *worker) restore() {
	newest := w.Volume.Newest()
	records, lost := w.Volume.TargetRecords()
	recorded, known := records[w.target.Key]
	known = known || lost
	r := &w.record
	*r = recorded
	switch {
	case known && (newest > 0 || recorded.Notified > 1):
	case len(records) > 0 && newest > 0:
		r.Notified = math.MaxUint64
		for _, other := range records {
			r.Notified = min(r.Notified, other.Notified)
		}
	case newest == 0 && !w.NotifyFirst:
		r.Notified = 1
	default:
		r.Notified = newest
	}
	if p := w.target.Process; p != nil {
		if r.Settings != p.Settings() {
			r.Settings, r.Ends = p.Settings(), 0
		}
		p.Remember(r.Process)
		if newest > 0 { // an earlier sidecar may have signaled any process a moment ago
			w.Interval.Start(0)
		}
	}
	if !known || *r != recorded {
		w.save(*r)
	}
	if w.isHeldBack() {
		f := ended(r.Ends, errors.New("no signal is sent"))
		w.state.Error, w.state.Failures = f.Kind, uint64(r.Ends)
		w.Logger.Warn("the app ended after its notification, before a restart of secret-sync",
			"generation", r.Ended, "ends", r.Ends, "err", f)
	}
}

// save sets the record and stores it. It logs the first failure and the recovery.
func (w *worker) save(r notification.TargetRecord) {
	w.mu.Lock()
	w.record = r
	w.mu.Unlock()
	err := w.Volume.SetTargetRecord(w.target.Key, r)
	if err != nil && !w.unsaved {
		w.Logger.Warn("cannot record the notification; a restart may repeat it", "generation", r.Notified, "err", err)
	} else if err == nil && w.unsaved {
		w.Logger.Info("recorded the notification", "generation", r.Notified)
	}
	w.unsaved = err != nil
}
