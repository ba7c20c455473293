// Package rollout reports when every Pod uses the current version of a Secret, so the old password can be revoked.
//
// It promises never to succeed too early, see tally. Anything unknown prevents success. It knows the document of
// package status, not the internals of a sidecar. It keeps no value of a Secret.
package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/wake"
)

const (
	maxAsking       = 64                    // concurrent queries; an API server allows 100 streams per connection
	minPause        = 20 * time.Millisecond // between two queries of a sidecar, see pause
	maxPause        = 2 * time.Second
	proxyCost       = 2 * time.Millisecond   // limits the queries through the API server to 500 per second
	refreshInterval = 200 * time.Millisecond // the minimum between two readings of the Secret
	retryPause      = time.Second            // between two watches of the Pods
)

// Options configure a Wait. Timeout and Format are for Run.
type Options struct {
	Rules
	API         *kube.Client
	Namespaces  []string
	Version     string // wait for this version, or a later one with the same data
	ChangedFrom string // first wait until the data differs from this version
	Direct      bool   // query the addresses of the Pods, not the API server's proxy
	Timeout     time.Duration
	Format      string       // text or json
	Progress    func(Result) // called from time to time and with the final Result, never concurrently
}

// A Result is the state of a Wait.
type Result struct {
	Done     bool       `json:"done"`
	Versions []Version  `json:"versions"` // a version per namespace
	Pods     []PodState `json:"pods"`
	Problem  string     `json:"problem,omitempty"` // why no Pod can be done now
	Seconds  float64    `json:"seconds"`           // the duration of a Wait that ended
	Error    string     `json:"error,omitempty"`   // of a Wait that ended
}

type Version struct {
	Namespace       string `json:"namespace"`
	Secret          string `json:"secret"`
	UID             string `json:"uid"`
	ResourceVersion string `json:"resourceVersion"`
}

// A waiter is a running Wait.
type waiter struct {
	*Options
	began     time.Time
	mu        sync.Mutex // guards the fields below and the scopes, see update
	scopes    []*scope
	asking    int
	refreshed time.Time // when evaluate last read the Secrets
}

// A scope is a namespace of a Wait.
type scope struct {
	*tally
	query kube.Query // of the Pods
	list  health     // of the lists and watches of the Pods
	get   health     // of the readings of the Secret
	proxy health     // of the queries of sidecars; only the API server denies them
}

// Wait returns nil when every counted Pod provably uses the version of the Secret. It returns an error if ctx ends
// before, or if success is impossible. The Result contains every counted Pod, with the reason if it is not done.
func Wait(ctx context.Context, o Options) (Result, error) {
	w := newWaiter(o)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, s := range w.scopes {
		go w.follow(ctx, s)
	}
	err := w.run(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.result()
	r.Done, r.Seconds = err == nil, time.Since(w.began).Round(time.Millisecond).Seconds()
	if err != nil {
		err = fmt.Errorf("not every Pod uses the Secret's current version: %w", err)
		r.Error = err.Error()
	}
	w.Progress(r)
	return r, err
}

func newWaiter(o Options) *waiter {
	w := &waiter{Options: &o, began: time.Now()}
	for _, namespace := range o.Namespaces {
		query := kube.Query{Resource: kube.Pods, Namespace: namespace, Selector: o.Selector, ListTimeout: readTimeout}
		w.scopes = append(w.scopes, &scope{tally: newTally(o.Rules, o.Version, o.ChangedFrom), query: query})
	}
	return w
}

func (w *waiter) result() (r Result) {
	for _, s := range w.scopes {
		r.Versions = append(r.Versions, Version{s.query.Namespace, s.Secret, s.history.last.uid, s.history.version})
		pods := s.states(time.Now())
		r.Pods = append(r.Pods, pods...)
		problem := s.history.problem()
		if err := cmp.Or(s.list.err, s.get.err); err != nil {
			problem = err.Error()
		} else if len(pods) == 0 {
			problem = cmp.Or(problem, "no Pod counts: check the selector and the namespace")
		}
		if problem != "" {
			r.Problem = fmt.Sprintf("namespace %s: %s", s.query.Namespace, problem)
		}
	}
	return r
}

// run evaluates the state from time to time, until the wait ends.
func (w *waiter) run(ctx context.Context) (err error) {
	for done, pause := false, time.Duration(0); ctx.Err() == nil; wake.Sleep(ctx, pause) {
		w.update(ctx, func() {
			done, err = w.evaluate(ctx)
			pause = min(w.pause(), refreshInterval)
		})
		if done || err != nil {
			return err
		}
	}
	return errors.New("the timeout ended")
}

// update calls change and starts the queries that are due, unless ctx ended: the results of cancelled requests would
// replace the reasons of the Pods.
func (w *waiter) update(ctx context.Context, change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if change(); w.asking < maxAsking/2 {
		w.ask(ctx)
	}
}

// evaluate reports whether the wait succeeded, or returns the reason why it never can. From time to time it reads the
// Secrets and calls Progress.
func (w *waiter) evaluate(ctx context.Context) (done bool, err error) {
	done = true
	refresh := time.Since(w.refreshed) >= max(w.pause(), refreshInterval)
	for _, s := range w.scopes {
		if refresh {
			w.read(ctx, s)
		}
		if err := s.impossible(); err != nil {
			return false, err
		}
		done = done && s.complete(time.Now())
	}
	if refresh {
		w.refreshed = time.Now()
		w.Progress(w.result())
	}
	return done && w.confirm(ctx), nil
}

func (w *waiter) ask(ctx context.Context) {
	for _, s := range w.scopes {
		for _, q := range s.due(time.Now(), maxAsking-w.asking) {
			w.asking++
			go func() {
				document, err := w.askSidecar(ctx, q)
				w.update(ctx, func() {
					w.asking--
					s.proxy.note(ctx, err, time.Now())
					s.answer(q, document, err, time.Now(), w.pause())
				})
			}()
		}
	}
}

// pause returns 1/32 of the elapsed time, within limits. The queries are frequent at first, so the wait ends soon after
// the last notification.
func (w *waiter) pause() time.Duration {
	pause := min(max(time.Since(w.began)/32, minPause), maxPause)
	for _, s := range w.scopes {
		if !w.Direct {
			pause = max(pause, time.Duration(len(s.pods))*proxyCost)
		}
	}
	return pause
}

// read reads the Secret and reports whether the reading succeeded.
func (w *waiter) read(ctx context.Context, s *scope) bool {
	r, err := w.readSecret(ctx, s.query.Namespace)
	ok := s.get.note(ctx, err, time.Now())
	if ok {
		s.history.read(r)
	}
	return ok
}

// confirm makes the last requests before success, see tally.
func (w *waiter) confirm(ctx context.Context) bool {
	for _, s := range w.scopes {
		began := time.Now()
		pods, _, err := w.listPods(ctx, s)
		listed := s.list.note(ctx, err, time.Now()) && s.confirm(pods, began)
		if !listed || !w.read(ctx, s) || !s.complete(time.Now()) {
			return false
		}
	}
	return true
}

// follow keeps the Pods of a scope current until ctx ends.
func (w *waiter) follow(ctx context.Context, s *scope) {
	for ; ctx.Err() == nil; wake.Sleep(ctx, retryPause) {
		err := w.listAndWatch(ctx, s)
		w.update(ctx, func() {
			s.list.note(ctx, err, time.Now())
			s.query.AllowLonger(err)
		})
	}
}

// listAndWatch returns nil if the server ended the watch.
func (w *waiter) listAndWatch(ctx context.Context, s *scope) error {
	began := time.Now()
	pods, version, err := w.listPods(ctx, s)
	if err != nil {
		return err
	}
	w.update(ctx, func() {
		s.list.note(ctx, nil, time.Now())
		s.replace(pods, began)
	})
	events, err := kube.Watch[podObject](ctx, w.API, s.query, version)
	if err != nil {
		return err
	}
	for event, err := range events {
		if err != nil {
			return err
		}
		pod := event.Object.reduce(s.query.Namespace, s.Secret) // the Pod of a bookmark is unbound and unknown
		pod.bound = pod.bound && event.Type != watch.Deleted
		w.update(ctx, func() { s.store(pod, time.Now()) })
	}
	return nil
}

// impossible returns the reason if the wait can no longer succeed.
func (s *scope) impossible() error {
	deleted := apierrors.IsNotFound(s.get.final) && s.history.last.version != "" // it may be created again
	switch {
	case s.get.final != nil && !deleted:
		return s.get.final
	case !s.proxy.denied.IsZero() && s.proxy.final != nil: // any other failure may be one of the Pod
		return s.proxy.final
	case s.history.ended != nil:
		return fmt.Errorf("wait for Secret %s/%s: %w; find out which password is in use, and wait again",
			s.query.Namespace, s.Secret, s.history.ended)
	case s.final(time.Now()):
		return errors.New("some Pods cannot become done; --ignore-others ignores Pods without the sidecar")
	}
	return s.list.final
}
