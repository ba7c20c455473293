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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/secret-sync/secret-sync/internal/kube"
)

const (
	maxAsking = 64 // Pods at once; an API server allows 100 streams a connection

	// A Pod that is not done is asked again after 1/32 of the time that has
	// passed, within these bounds: often at first, so that the yes comes soon
	// after the last notification, and seldom when a Pod hangs.
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second

	// proxyCost times the number of Pods is a pause, too, when the API server is asked
	// in their place: after the first round, 500 requests a second. What goes to the
	// Pods themselves costs no one else.
	proxyCost = 2 * time.Millisecond

	retryPause  = time.Second      // before the next list, when a watch ended
	checkPause  = 5 * time.Second  // between two looks at the Secret itself
	readTimeout = 30 * time.Second // of such a look

	progressInterval = 200 * time.Millisecond
)

// ErrNotDone is in the error of a Wait that ends without a yes.
var ErrNotDone = errors.New("not every Pod is on the present version")

// Options are what a Wait needs.
type Options struct {
	API          *kube.Client
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
	query   kube.Query // of the Pods
	tally   *tally
	began   time.Time
	asking  int
	problem string    // of the last request for Pods or the Secret, "" for none
	denied  int       // how many of these in a row were not allowed
	checked time.Time // the Secret, last
	shown   time.Time // the progress, last

	updates chan func() // from the watch and from the Pods that are asked
}

// Wait returns nil when every Pod that counts is done with the Secret's present
// version. ErrNotDone is in its error when ctx ends before that, or when it cannot
// become true any more. The Result has each Pod and its reason.
func Wait(ctx context.Context, o Options) (Result, error) {
	query := kube.Query{Resource: kube.Pods, Namespace: o.Namespace, Selector: o.Selector}
	w := &waiter{Options: o, query: query, began: time.Now(), updates: make(chan func())}
	version, err := w.version(ctx)
	if err != nil {
		return Result{Version: version}, fmt.Errorf("%w: %w", ErrNotDone, err)
	}
	w.tally, w.checked = newTally(version, o.IgnoreOthers, o.SignalGrace), time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go wait.UntilWithContext(ctx, w.follow, retryPause)
	err = w.run(ctx)
	result := w.result()
	result.Done = err == nil
	return result, err
}

func (w *waiter) result() Result {
	return Result{Version: w.tally.version, Pods: w.tally.states(), Problem: w.problem}
}

// run looks at all Pods again after each update, and from time to time, until there
// is a yes, or no hope of one.
func (w *waiter) run(ctx context.Context) error {
	for {
		now := time.Now()
		w.ask(ctx, now)
		if w.tally.complete(now) {
			if yes, err := w.confirm(ctx); yes || err != nil {
				return err
			}
		}
		if err := w.hopeless(ctx); err != nil {
			return err
		}
		if now.Sub(w.shown) >= progressInterval {
			w.shown = now
			w.Progress(w.result())
		}
		select {
		case <-ctx.Done():
			if len(w.tally.pods) == 0 {
				return fmt.Errorf("%w in time: no Pod of %q runs with secret-sync", ErrNotDone, w.Selector)
			}
			return fmt.Errorf("%w in time", ErrNotDone)
		case update := <-w.updates:
			update()
		case <-time.After(min(w.pause(), progressInterval)):
		}
	}
}

// ask asks the Pods that are due.
func (w *waiter) ask(ctx context.Context, now time.Time) {
	for _, p := range w.tally.due(now, maxAsking-w.asking) {
		w.asking++
		go func() {
			document, err := w.Options.ask(ctx, p)
			w.update(ctx, func() {
				w.asking--
				w.tally.answer(p.Metadata.UID, document, err, time.Now(), w.pause())
			})
		}()
	}
}

func (w *waiter) pause() time.Duration {
	pause := min(max(time.Since(w.began)/32, minPause), maxPause)
	if !w.Direct {
		pause = max(pause, time.Duration(len(w.tally.pods))*proxyCost)
	}
	return pause
}

func (w *waiter) update(ctx context.Context, update func()) {
	select {
	case w.updates <- update:
	case <-ctx.Done():
	}
}

// confirm makes the last reads before a yes. The list of Pods comes after the last
// answer and finds Pods that appeared meanwhile. The Secret is read again because
// versions count only within one object and one history: after it was recreated, or
// the cluster was restored from a backup, it is not known which password is the old
// one.
func (w *waiter) confirm(ctx context.Context) (yes bool, err error) {
	pods, _, err := kube.List[pod](ctx, w.API, w.query)
	if w.note(err) || !w.tally.confirm(pods, time.Now()) {
		return false, nil
	}
	return w.unchanged(ctx)
}

// unchanged reads the Secret. An error is why there will be no yes.
func (w *waiter) unchanged(ctx context.Context) (bool, error) {
	w.checked = time.Now()
	now, err := w.version(ctx)
	if w.note(err) {
		return false, nil
	}
	return true, w.tally.version.changedTo(now)
}

// hopeless returns why there will be no yes, so that a wait in vain ends soon and
// with the reason. From time to time it looks at the Secret itself for that.
func (w *waiter) hopeless(ctx context.Context) error {
	if time.Since(w.checked) >= checkPause {
		if _, err := w.unchanged(ctx); err != nil {
			return err
		}
	}
	if name := w.tally.withoutSidecar(); name != "" {
		return fmt.Errorf("%w: Pod %q runs without secret-sync (--ignore-others leaves such Pods out)", ErrNotDone, name)
	}
	if w.denied > 1 {
		return fmt.Errorf("%w: %s; `secret-sync rbac --wait ACCOUNT` prints what is needed", ErrNotDone, w.problem)
	}
	return nil
}

// note keeps the error of a request for Pods or the Secret, and reports whether
// there was an error.
func (w *waiter) note(err error) bool {
	if err == nil {
		w.problem, w.denied = "", 0
		return false
	}
	w.problem = err.Error()
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		w.denied++
	}
	return true
}

// follow keeps the tally's Pods equal to the API server's, until a watch ends.
func (w *waiter) follow(ctx context.Context) {
	err := w.listAndWatch(ctx)
	w.update(ctx, func() { w.note(err) })
}

func (w *waiter) listAndWatch(ctx context.Context) error {
	pods, resourceVersion, err := kube.List[pod](ctx, w.API, w.query)
	if err != nil {
		return err
	}
	w.update(ctx, func() { w.note(nil); w.tally.list(pods) })
	events, err := kube.Watch[pod](ctx, w.API, w.query, resourceVersion)
	if err != nil {
		return err
	}
	for e, err := range events {
		if err != nil {
			return err
		}
		w.update(ctx, func() { w.tally.apply(e) })
	}
	return nil
}
