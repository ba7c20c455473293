// Package rollout reports when every Pod uses the current version of a Secret, so the old
// password can be revoked.
//
// It promises never to succeed too early. Each counted Pod answered: it uses the version and
// has notified all its targets. A list of Pods, begun after the last answer, contains no
// other Pod. The data of the Secret did not change since. Anything unknown prevents success.
//
// It does not depend on the internals of a sidecar: it knows the document of package status.
// It keeps no value of a Secret.
package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/wake"
)

const (
	maxAsking = 64 // concurrent queries; an API server allows 100 streams per connection

	// A sidecar is asked again until it is done: after 1/32 of the elapsed time, within these
	// limits. The queries are frequent at first, so the wait ends soon after the last
	// notification. They are rare if a Pod hangs.
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second

	// proxyCost limits the queries through the API server to 500 per second. Queries of the
	// Pods themselves cost nobody else.
	proxyCost = 2 * time.Millisecond

	retryPause    = time.Second            // between two requests of the API server
	checkPause    = 5 * time.Second        // between two readings of the Secret
	outdatedPause = 200 * time.Millisecond // the same, if a sidecar is ahead of the last reading

	progressInterval = 200 * time.Millisecond
)

// ErrNotDone is wrapped by the error of an unsuccessful Wait.
var ErrNotDone = errors.New("not every Pod uses the Secret's current version")

// Options configure a Wait.
type Options struct {
	Rules
	API         *kube.Client
	Namespaces  []string
	Version     string       // wait for this version, or a later one with the same data
	ChangedFrom string       // first wait until the data differs from this version
	Direct      bool         // query the addresses of the Pods, not the API server's proxy
	Progress    func(Result) // called from time to time, from a single goroutine
}

// A waiter is a running Wait. Its fields belong to the goroutine of run.
type waiter struct {
	*Options
	scopes []*scope
	began  time.Time
	asking int
	shown  time.Time // when Progress was last called

	updates chan func() error // from the watches and the queries
}

// A scope is a namespace of a Wait.
type scope struct {
	*tally
	namespace string
	listed    bool      // whether the Pods were listed
	checked   time.Time // when the Secret was last read
	pods      health    // of the lists and watches
	secret    health    // of the readings
	proxy     health    // of the queries through the API server
}

// Wait returns nil when every counted Pod provably uses the version of the Secret. It returns
// ErrNotDone if ctx ends before, or if success is impossible. The Result contains every
// counted Pod, with the reason if it is not done.
func Wait(ctx context.Context, o Options) (Result, error) {
	w := &waiter{Options: &o, began: time.Now(), updates: make(chan func() error)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, namespace := range o.Namespaces {
		s := &scope{tally: newTally(o.Rules, o.Version, o.ChangedFrom), namespace: namespace}
		w.scopes = append(w.scopes, s)
		go w.follow(ctx, s)
	}
	err := w.run(ctx)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotDone, err)
	}
	result := w.result()
	result.Done = err == nil
	return result, err
}

func (w *waiter) result() (r Result) {
	for _, s := range w.scopes {
		h := s.history
		r.Versions = append(r.Versions, Version{s.namespace, s.Secret, h.last.uid, h.version})
		r.Pods = append(r.Pods, s.states(time.Now())...)
		problem := h.problem()
		if err := cmp.Or(s.pods.err, s.secret.err); err != nil {
			problem = err.Error()
		}
		if problem != "" {
			r.Problem = fmt.Sprintf("namespace %s: %s", s.namespace, problem)
		}
	}
	return r
}

// run handles updates, and evaluates the state from time to time, until the wait succeeds or
// cannot succeed any longer.
func (w *waiter) run(ctx context.Context) error {
	evaluation := time.NewTimer(0)
	defer evaluation.Stop()
	for {
		select {
		case <-ctx.Done():
			return w.timeout()
		case update := <-w.updates:
			if err := update(); err != nil {
				return err
			}
			if w.asking < maxAsking/2 {
				w.ask(ctx)
			}
		case <-evaluation.C:
			if done, err := w.evaluate(ctx); done || err != nil {
				return err
			}
			evaluation.Reset(min(w.pause(), progressInterval))
		}
	}
}

// evaluate reports whether the wait succeeded. It returns an error if the wait can no longer
// succeed.
func (w *waiter) evaluate(ctx context.Context) (done bool, err error) {
	w.ask(ctx)
	for _, s := range w.scopes {
		if err := w.check(ctx, s); err != nil {
			return false, err
		}
		if err := s.impossible(); err != nil {
			return false, err
		}
	}
	if now := time.Now(); now.Sub(w.shown) >= progressInterval {
		w.shown = now
		w.Progress(w.result())
	}
	return w.confirm(ctx)
}

// ask starts the queries that are due.
func (w *waiter) ask(ctx context.Context) {
	for _, s := range w.scopes {
		for _, q := range s.due(time.Now(), maxAsking-w.asking) {
			w.asking++
			go w.query(ctx, s, q)
		}
	}
}

// query asks a sidecar.
func (w *waiter) query(ctx context.Context, s *scope, q query) {
	document, err := w.Options.ask(ctx, q)
	w.update(ctx, func() error {
		w.asking--
		if !w.Direct {
			s.proxy.note(err, time.Now())
		}
		return s.explain(s.answer(q, document, err, time.Now(), w.pause()))
	})
}

func (w *waiter) pause() time.Duration {
	pause := min(max(time.Since(w.began)/32, minPause), maxPause)
	if w.Direct {
		return pause
	}
	pods := 0
	for _, s := range w.scopes {
		pods += len(s.tally.pods)
	}
	return max(pause, time.Duration(pods)*proxyCost)
}

func (w *waiter) update(ctx context.Context, update func() error) {
	select {
	case w.updates <- update:
	case <-ctx.Done():
	}
}

// check reads the Secret from time to time, so a wait in vain ends soon.
func (w *waiter) check(ctx context.Context, s *scope) error {
	pause := checkPause
	switch {
	case s.history.last.version == "":
		pause = retryPause
	case s.outdated:
		pause = outdatedPause
	}
	if time.Since(s.checked) < pause {
		return nil
	}
	return w.read(ctx, s)
}

// read reads the Secret. It returns an error if the wait can no longer succeed.
func (w *waiter) read(ctx context.Context, s *scope) error {
	s.checked = time.Now()
	r, err := w.readSecret(ctx, s.namespace)
	if ctx.Err() != nil {
		return nil
	}
	if s.secret.note(err, time.Now()); err != nil {
		return nil
	}
	return s.explain(s.read(r))
}

// confirm makes the last requests before success, once the tallies are complete. The lists of
// Pods find new Pods. The readings show whether the data of the Secret changed.
func (w *waiter) confirm(ctx context.Context) (done bool, err error) {
	complete := func() bool {
		return !slices.ContainsFunc(w.scopes, func(s *scope) bool { return !s.listed || !s.complete(time.Now()) })
	}
	if !complete() {
		return false, nil
	}
	for _, s := range w.scopes {
		began := time.Now()
		pods, _, err := w.listPods(ctx, s.namespace)
		if s.pods.note(err, time.Now()); err != nil || !s.confirm(pods, began) {
			return false, nil
		}
	}
	for _, s := range w.scopes {
		if err := w.read(ctx, s); err != nil {
			return false, err
		}
		if s.secret.err != nil {
			return false, nil
		}
	}
	return ctx.Err() == nil && complete(), nil
}

// follow keeps the Pods of a scope current until ctx ends.
func (w *waiter) follow(ctx context.Context, s *scope) {
	for ctx.Err() == nil {
		began := time.Now()
		pods, version, err := w.listPods(ctx, s.namespace)
		if err == nil {
			w.update(ctx, func() error {
				s.pods.note(nil, time.Now())
				s.list(pods, began)
				s.listed = true
				return nil
			})
			put := func(p pod) { w.update(ctx, func() error { s.put(p, time.Now()); return nil }) }
			remove := func(uid string) { w.update(ctx, func() error { s.remove(uid); return nil }) }
			err = w.watchPods(ctx, s.namespace, version, put, remove)
		}
		w.update(ctx, func() error { s.pods.note(err, time.Now()); return nil })
		wake.Sleep(ctx, retryPause)
	}
}

// impossible returns an error if the wait can no longer succeed. Such a wait ends soon and
// with the reason.
func (s *scope) impossible() error {
	deleted := apierrors.IsNotFound(s.secret.err) && s.history.last.version != "" // it may be created again
	if err := s.secret.final(); err != nil && !deleted {
		return err
	}
	if err := cmp.Or(s.pods.final(), s.proxy.denial()); err != nil {
		return err
	}
	if s.listed && s.final(time.Now()) {
		return errors.New("some Pods cannot become done; --ignore-others ignores Pods without the sidecar")
	}
	return nil
}

// explain adds the Secret to the final error of the wait.
func (s *scope) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("wait for Secret %s/%s: %w; find out which password is in use, and wait again", s.namespace, s.Secret, err)
}

// timeout returns the reason why the wait did not succeed in time.
func (w *waiter) timeout() error {
	pods, graces, others := 0, 0, 0
	for _, p := range w.result().Pods {
		pods++
		if strings.Contains(p.Reason, "-grace)") {
			graces++
		} else if !p.Done {
			others++
		}
	}
	switch {
	case pods == 0 && w.Selector != "":
		return fmt.Errorf("the timeout ended, and no Pod of %q runs with secret-sync", w.Selector)
	case pods == 0:
		return errors.New("the timeout ended, and no Pod uses the Secret")
	case graces > 0 && others == 0:
		return errors.New("the timeout ended before the grace; raise --timeout")
	}
	return errors.New("the timeout ended")
}
