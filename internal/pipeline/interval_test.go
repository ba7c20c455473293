package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestPublish_after: a publish waits for the end of the interval after a signal. The first publish
// of a burst does not wait.
func TestPublish_after(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 500 * time.Millisecond
		w := newWorld()
		var quiet time.Time
		w.answer("db", "1")
		w.start(t, pipeline.Options{PublishAfter: func() time.Time { return quiet }})
		synctest.Wait()
		w.want(t, 1, "map[db:1]")
		quiet = time.Now().Add(interval)
		w.answer("db", "2")
		time.Sleep(interval / 2)
		w.answer("db", "3")
		synctest.Wait()
		w.want(t, 1, "map[db:1]")
		time.Sleep(interval / 2)
		synctest.Wait()
		w.want(t, 2, "map[db:3]")
	})
}

// An event is a signal or a swap.
type event struct {
	signal bool
	at     time.Time
}

// A slowWriter prepares a generation for some time and then asks the notifier for the swap, as the writer does.
type slowWriter struct {
	*world
	prepare  time.Duration
	interval *notifier.Interval
	notifier *notifier.Notifier
	events   []event // in their order, because Interval serializes them
}

func (w *slowWriter) Publish(ctx context.Context, content generation.Content) (number uint64, err error) {
	time.Sleep(w.prepare)
	err = w.interval.Swap(ctx, func() error {
		w.events = append(w.events, event{false, time.Now()})
		number, err = w.world.Publish(ctx, content)
		return err
	})
	w.notifier.Poke()
	return number, err
}

func (w *slowWriter) Newest() uint64 { number, _ := w.Current(); return number }
func (w *slowWriter) ChangesSince(uint64) notification.Changes {
	return notification.Changes{Generation: w.Newest()}
}
func (w *slowWriter) TargetRecords() (map[string]notification.TargetRecord, bool) { return nil, false }
func (w *slowWriter) SetTargetRecord(string, notification.TargetRecord) error     { return nil }

// notify starts a notifier of targets and a pipeline. stop ends the notifier.
func (w *slowWriter) notify(t *testing.T, targets ...notifier.Target) (stop func()) {
	w.notifier = notifier.New(notifier.Options{
		Targets: targets, Volume: w, NotifyFirst: true,
		Logger: slog.New(slog.DiscardHandler), Report: func(string, error) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.notifier.Run(ctx) }()
	w.start(t, pipeline.Options{Publisher: w, PublishAfter: w.interval.End})
	return func() { cancel(); <-ended }
}

// TestInterval: with a slow publisher and a slow notification, no generation becomes current in the interval after a
// signal, even if its publish begins before the signal, or if the signal remains pending. This holds for two targets,
// too, and signals to a process that both name have the same distance. Nothing waits longer.
func TestInterval(t *testing.T) {
	const length, lookup, change = 500 * time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond
	for _, prepare := range []time.Duration{0, lookup / 2, lookup + 1, 2 * lookup, 2 * length, 5 * length} {
		for _, test := range []struct {
			pending bool
			targets int
		}{{false, 1}, {true, 1}, {false, 2}} {
			t.Run(fmt.Sprint(prepare, test), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &slowWriter{world: newWorld(), prepare: prepare, interval: notifier.NewInterval(length)}
					notify := func(context.Context, notifier.Changes) error {
						time.Sleep(lookup)
						return w.signal()
					}
					if test.pending {
						notify = w.pending(lookup)
					}
					var targets []notifier.Target
					for n := range test.targets {
						name := fmt.Sprint("process/", n)
						targets = append(targets, notifier.Target{Name: name, Key: name, Notify: notify})
					}
					stop := w.notify(t, targets...)
					for n := range 20 {
						w.answer("db", fmt.Sprint(n))
						time.Sleep(change / time.Duration(1+n%3))
					}
					time.Sleep(time.Minute)
					stop()
					w.checkDistances(t, length)
				})
			})
		}
	}
}

func (w *slowWriter) signal() error {
	return w.interval.Signal(7, func() error {
		w.events = append(w.events, event{true, time.Now()})
		return nil
	})
}

// pending returns a notification whose every second signal remains pending until the next attempt.
func (w *slowWriter) pending(lookup time.Duration) func(context.Context, notifier.Changes) error {
	pending, signals := false, 0
	return func(context.Context, notifier.Changes) error {
		time.Sleep(lookup)
		if pending {
			pending = false
			w.interval.Start(7)
			return nil
		}
		err := w.signal()
		if err == nil {
			signals++
		}
		if err != nil || signals%2 == 0 {
			return err
		}
		time.Sleep(lookup)
		pending = true
		return &notifier.Failure{Kind: "pending", Err: errors.New("pending")}
	}
}

// checkDistances checks the time from each signal to the next signal and to the next swap.
func (w *slowWriter) checkDistances(t *testing.T, length time.Duration) {
	t.Helper()
	var last time.Time
	swaps, signals := 0, 0
	for _, e := range w.events {
		if after := e.at.Sub(last); after < length {
			t.Errorf("signal: %v, %v after a signal", e.signal, after)
		}
		if !e.signal {
			swaps++
			continue
		}
		signals, last = signals+1, e.at
	}
	if signals < 2 {
		t.Errorf("%d signals", signals)
	}
	w.want(t, uint64(swaps), "map[db:19]")
}

// TestInterval_failedAttempt: a failed attempt delays no publish.
func TestInterval_failedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowWriter{world: newWorld(), interval: notifier.NewInterval(time.Hour)}
		notify := func(context.Context, notifier.Changes) error {
			return w.interval.Signal(7, func() error { return errors.New("no process") })
		}
		defer w.notify(t, notifier.Target{Name: "process", Notify: notify})()
		for n := range 5 {
			w.answer("db", fmt.Sprint(n))
			w.want(t, uint64(n+1), fmt.Sprintf("map[db:%d]", n))
		}
	})
}
