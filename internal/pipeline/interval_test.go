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

// TestPublishAfter: a publish waits for the end of the interval after a signal. The first publish
// of a burst does not wait.
func TestPublishAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 500 * time.Millisecond
		w := newWorld()
		var quiet time.Time
		w.answer("db", "1")
		w.start(t, pipeline.Settings{PublishAfter: func() time.Time { return quiet }})
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

// A slowWriter prepares a generation for some time and then asks the notifier for the swap, as the writer does.
type slowWriter struct {
	*world
	prepare  time.Duration
	notifier *notifier.Notifier
	swaps    []time.Time
}

func (w *slowWriter) Publish(ctx context.Context, set generation.Content) (number uint64, err error) {
	time.Sleep(w.prepare)
	err = w.notifier.Swap(ctx, func() error {
		w.swaps = append(w.swaps, time.Now())
		number, err = w.world.Publish(ctx, set)
		return err
	})
	w.notifier.Poke()
	return number, err
}

func (w *slowWriter) Newest() uint64                 { number, _ := w.Current(); return number }
func (w *slowWriter) LowestNotified() (uint64, bool) { return 0, false }
func (w *slowWriter) ChangesSince(uint64) notification.Changes {
	return notification.Changes{Generation: w.Newest()}
}
func (w *slowWriter) TargetRecord(string) (record notification.TargetRecord, known bool) {
	return record, false
}
func (w *slowWriter) SetTargetRecord(string, notification.TargetRecord) error { return nil }

// notify starts a notifier of a target and a pipeline. stop ends the notifier.
func (w *slowWriter) notify(t *testing.T, target notifier.Target) (stop func()) {
	w.notifier = notifier.New(notifier.Options{
		Targets: []notifier.Target{target}, Volume: w, NotifyFirst: true,
		Logger: slog.New(slog.DiscardHandler), Report: func(string, error) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.notifier.Run(ctx) }()
	w.start(t, pipeline.Settings{Publisher: w, PublishAfter: w.notifier.PublishAfter})
	return func() { cancel(); <-ended }
}

// TestInterval: with a slow publisher and a slow notification, no generation becomes current in the interval after a
// signal, even if its publish begins before the signal, or if the signal remains pending. Nothing waits longer.
func TestInterval(t *testing.T) {
	const interval, lookup, change = 500 * time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond
	for _, prepare := range []time.Duration{0, lookup / 2, lookup + 1, 2 * lookup, 2 * interval, 5 * interval} {
		for _, pending := range []bool{false, true} {
			t.Run(fmt.Sprint(prepare, pending), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, signals := &slowWriter{world: newWorld(), prepare: prepare}, []time.Time{}
					notify := func(context.Context, notifier.Changes) error {
						time.Sleep(lookup)
						signals = append(signals, time.Now())
						if pending && len(signals)%2 == 1 {
							time.Sleep(lookup)
							return &notifier.Failure{Kind: "pending", Delivering: true, Err: errors.New("pending")}
						}
						return nil
					}
					stop := w.notify(t, notifier.Target{Name: "process", Interval: interval, Notify: notify})
					for n := range 20 {
						w.answer("db", fmt.Sprint(n))
						time.Sleep(change / time.Duration(1+n%3))
					}
					time.Sleep(time.Minute)
					stop()
					w.want(t, uint64(len(w.swaps)), "map[db:19]")
					for _, swap := range w.swaps {
						for _, signal := range signals {
							if after := swap.Sub(signal); after >= 0 && after < interval-lookup {
								t.Errorf("generation became current %v after a signal", after)
							}
						}
					}
				})
			})
		}
	}
}

// TestInterval_failedAttempt: a failed attempt delays no publish.
func TestInterval_failedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowWriter{world: newWorld()}
		notify := func(context.Context, notifier.Changes) error { return errors.New("no process") }
		defer w.notify(t, notifier.Target{Name: "process", Interval: time.Hour, Notify: notify})()
		for n := range 5 {
			w.answer("db", fmt.Sprint(n))
			w.want(t, uint64(n+1), fmt.Sprintf("map[db:%d]", n))
		}
	})
}

// TestInterval_pendingForever: the attempts to finish a delivery do not delay a publish again.
func TestInterval_pendingForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = time.Minute
		w := &slowWriter{world: newWorld()}
		notify := func(context.Context, notifier.Changes) error {
			return &notifier.Failure{Kind: "pending", Delivering: true, RetryWithin: time.Second,
				Err: errors.New("pending")}
		}
		defer w.notify(t, notifier.Target{Name: "process", Interval: interval, Notify: notify})()
		w.answer("db", "1")
		w.want(t, 1, "map[db:1]")
		w.answer("db", "2")
		time.Sleep(interval - 1)
		w.want(t, 1, "map[db:1]")
		time.Sleep(time.Nanosecond)
		w.want(t, 2, "map[db:2]")
	})
}
