// Package rollout reports when every Pod of a selector is on the present version of
// a Secret: when the old password can go.
//
// It promises never to say yes too early. Each Pod that counts has answered that it
// has seen that version or a newer one and has notified all its targets, on a list
// of Pods that was made after the last answer; and the Secret in the API server is
// still the same object, at that version or a newer one. Whatever it does not know
// is a no.
//
// It reads no Secret's value. It must not know what a sidecar does; it knows the
// document of package status.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

const (
	maxAsking = 64 // Pods at once; an API server allows 100 streams a connection

	// Requests a second through the API server, after the first proxyBurst. What goes
	// to the Pods themselves costs nobody else, and is not limited.
	proxyRate, proxyBurst = 500, 200

	// A Pod that is not done is asked again after 1/32 of the time that has
	// passed, within these bounds: at first often, so that the yes comes soon
	// after the last notification, and of one that hangs seldom.
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second

	retryPause = time.Second     // after a failed list or watch
	checkPause = 5 * time.Second // between two looks at the Secret itself

	progressInterval = 200 * time.Millisecond
)

// ErrNotDone is in the error of a Wait that ends without a yes.
var ErrNotDone = errors.New("not every Pod is on the present version")

// Options say what to wait for.
type Options struct {
	API          *kubeapi.Client
	Namespace    string
	Secret       string
	Selector     string        // of Pods
	Direct       bool          // ask the Pods' addresses, not through the API server
	IgnoreOthers bool          // Pods without the sidecar do not count
	SignalGrace  time.Duration // after the last Pod that sends signals was done
	Progress     func(Result)  // called now and then, from one goroutine
}

// Result is how far the Pods are.
type Result struct {
	Done    bool       `json:"done"`
	Version Version    `json:"version"`
	Pods    []PodState `json:"pods"`
	Problem string     `json:"problem,omitempty"` // why nothing can be known now
}

// waiter is one Wait. Its fields belong to the goroutine of run.
type waiter struct {
	Options
	cluster *cluster
	tally   *tally
	began   time.Time
	limit   *rate.Limiter
	asking  int
	problem string    // of the last list, "" for none
	denied  int       // lists in a row that were not allowed
	checked time.Time // the Secret, last
	shown   time.Time // the progress, last

	updates chan func() // from the watch and from the Pods that are asked
}

// Wait returns nil when every Pod that counts is done with the Secret's present
// version. ErrNotDone is in its error when ctx ends before that, or when it cannot
// become true any more. The Result has each Pod and its reason.
func Wait(ctx context.Context, o Options) (Result, error) {
	w := &waiter{
		Options: o, cluster: newCluster(o.API, o.Namespace, o.Direct), began: time.Now(),
		limit: rate.NewLimiter(proxyRate, proxyBurst), updates: make(chan func()),
	}
	version, err := w.cluster.version(ctx, o.Secret)
	if err != nil {
		return Result{Version: Version{Secret: o.Secret}}, fmt.Errorf("%w: %w", ErrNotDone, err)
	}
	w.tally, w.checked = newTally(version, o.IgnoreOthers, o.SignalGrace), time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go w.follow(ctx)
	err = w.run(ctx)
	result := w.result()
	result.Done = err == nil
	return result, err
}

func (w *waiter) result() Result {
	return Result{Version: w.tally.version, Pods: w.tally.states(), Problem: w.problem}
}

// run takes updates one at a time until there is a yes, or no hope of one.
func (w *waiter) run(ctx context.Context) error {
	for {
		now := time.Now()
		wait := w.ask(ctx, now)
		if w.tally.complete() {
			if wait = w.tally.graceLeft(now); wait == 0 {
				yes, err := w.confirm(ctx)
				if yes || err != nil {
					return err
				}
				wait = w.pause() // for the Pods that the list found, or for an answer
			}
		}
		if err := w.check(ctx); err != nil {
			return err
		}
		w.progress(now)
		if name := w.tally.stranger(); name != "" {
			return fmt.Errorf("%w: Pod %q runs without secret-sync (--ignore-others leaves such Pods out)", ErrNotDone, name)
		}
		if w.denied > 1 {
			return fmt.Errorf("%w: %s; `secret-sync rbac --wait ACCOUNT` prints what is needed", ErrNotDone, w.problem)
		}
		if err := w.next(ctx, soonest(wait, progressInterval)); err != nil {
			return err
		}
	}
}

// next takes one update, or waits for a time.
func (w *waiter) next(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		if len(w.tally.states()) == 0 {
			return fmt.Errorf("%w in time: no Pod of %q runs with secret-sync", ErrNotDone, w.Selector)
		}
		return fmt.Errorf("%w in time", ErrNotDone)
	case update := <-w.updates:
		update()
		w.drain()
	case <-timer.C:
	}
	return nil
}

// drain takes the updates that wait already, so that many answers are one look at
// all Pods.
func (w *waiter) drain() {
	for {
		select {
		case update := <-w.updates:
			update()
		default:
			return
		}
	}
}

// ask asks the Pods that are due, and returns when the next one is.
func (w *waiter) ask(ctx context.Context, now time.Time) time.Duration {
	pods, wait := w.tally.due(now, maxAsking-w.asking)
	for _, p := range pods {
		w.asking++
		go func() {
			document, err := w.askOne(ctx, p)
			w.update(ctx, func() {
				w.asking--
				w.tally.answer(p.Metadata.UID, document, err, time.Now(), w.pause())
			})
		}()
	}
	return wait
}

func (w *waiter) askOne(ctx context.Context, p pod) (*status.Document, error) {
	if !w.Direct {
		if err := w.limit.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return w.cluster.ask(ctx, p)
}

func (w *waiter) pause() time.Duration {
	return min(max(time.Since(w.began)/32, minPause), maxPause)
}

func (w *waiter) update(ctx context.Context, update func()) {
	select {
	case w.updates <- update:
	case <-ctx.Done():
	}
}

// progress reports how far the Pods are, and not after each answer of a thousand.
func (w *waiter) progress(now time.Time) {
	if now.Sub(w.shown) >= progressInterval {
		w.shown = now
		w.Progress(w.result())
	}
}

// check looks at the Secret itself from time to time: a wait for a version that
// no sidecar can reach any more ends soon, and with the reason.
func (w *waiter) check(ctx context.Context) error {
	if time.Since(w.checked) < checkPause {
		return nil
	}
	w.checked = time.Now()
	now, err := w.cluster.version(ctx, w.Secret)
	if err != nil {
		w.problem = err.Error()
		return nil
	}
	return w.tally.version.changedTo(now)
}

// confirm makes the last reads before a yes. The list of Pods comes after the last
// answer and finds Pods that appeared meanwhile. The Secret is read again because
// versions count only within one object and one history: after it was recreated, or
// the cluster was restored from a backup, nobody knows which password is the old
// one.
func (w *waiter) confirm(ctx context.Context) (yes bool, err error) {
	pods, _, err := w.cluster.pods(ctx, w.Selector)
	if err == nil && !w.tally.confirm(pods, time.Now()) {
		return false, nil
	}
	var now Version
	if err == nil {
		now, err = w.cluster.version(ctx, w.Secret)
	}
	if err != nil {
		w.problem = err.Error()
		return false, nil
	}
	return true, w.tally.version.changedTo(now)
}

// follow keeps the tally's Pods equal to the API server's.
func (w *waiter) follow(ctx context.Context) {
	for ctx.Err() == nil {
		pods, resourceVersion, err := w.cluster.pods(ctx, w.Selector)
		w.update(ctx, func() { w.listed(pods, err) })
		if err == nil {
			err = w.cluster.watch(ctx, w.Selector, resourceVersion, func(e podEvent) {
				w.update(ctx, func() { w.event(e) })
			})
		}
		if err != nil {
			w.update(ctx, func() { w.failed(err) })
			sleep(ctx, retryPause)
		}
	}
}

func (w *waiter) listed(pods []pod, err error) {
	if err == nil {
		w.problem, w.denied = "", 0
		w.tally.list(pods)
	}
}

func (w *waiter) event(e podEvent) {
	switch e.Type {
	case "ADDED", "MODIFIED":
		w.tally.put(e.Object)
	case "DELETED":
		w.tally.remove(e.Object.Metadata.UID)
	}
}

func (w *waiter) failed(err error) {
	w.problem = err.Error()
	if e := (*kubeapi.Error)(nil); errors.As(err, &e) && (e.Kind == kubeapi.KindForbidden || e.Kind == kubeapi.KindUnauthorized) {
		w.denied++
	}
}

// soonest is the shorter of two waits, of which 0 is for ever.
func soonest(wait, other time.Duration) time.Duration {
	if wait == 0 {
		return other
	}
	return min(wait, other)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
