// Package watcher keeps a Snapshot of some Secrets equal to what the API server
// has, and says when it changed.
//
// What it promises: the Snapshot is never older than the last consistent read.
// Every watch begins with a quorum list, and begins anew when it ended for any
// reason, or when nothing was heard on it for three minutes. What such a list
// answers is taken for the truth, also when its versions are lower than known
// ones: that is what a cluster restored from a backup looks like.
//
// What it does not promise: to be current while the API server cannot be
// reached. During every fault the Snapshot stays what it was, and Status tells
// how old that is.
package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
)

// Options are what a Watcher is made from.
type Options struct {
	Config    *rest.Config  // of the cluster; it is not modified
	Namespace string        // of all the Secrets
	Names     []string      // watched by name, required and optional alike
	Selector  string        // a label selector; "" for none
	Settle    time.Duration // wait for this long without a change before Changed is poked, at most 10 times this long; 0: poke at once
	Logger    *slog.Logger  // nil: no logs
}

// Watcher follows the Secrets of its Options. Its methods may be called from
// any goroutine, before, while and after Run.
type Watcher struct {
	logger *slog.Logger
	client *connection
	state  *state
	poke   *poker
	loops  []*loop // one for each watch: the names in order, then the selector
}

// New makes a Watcher. No request is made before Run.
func New(o Options) (*Watcher, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Namespace == "" {
		return nil, errors.New("watch Secrets: no namespace")
	}
	if len(o.Names) == 0 && o.Selector == "" {
		return nil, errors.New("watch Secrets: neither names nor a selector")
	}
	selector, err := labels.Parse(o.Selector)
	if err != nil {
		return nil, fmt.Errorf("parse selector %q: %w", o.Selector, err)
	}
	client, err := connect(o.Config)
	if err != nil {
		return nil, err
	}
	w := &Watcher{logger: o.Logger, client: client, poke: newPoker(o.Settle)}
	w.state = newState(w.poke.changed)
	names := slices.Compact(slices.Sorted(slices.Values(o.Names)))
	for _, name := range names {
		w.add(query{namespace: o.Namespace, name: name, labels: labels.Everything()})
	}
	if o.Selector != "" {
		w.add(query{namespace: o.Namespace, labels: selector, named: names})
	}
	for _, l := range w.loops {
		l.spread = time.Duration(len(w.loops)-1) * spreadPerWatch
	}
	return w, nil
}

// add makes the loop of one watch.
func (w *Watcher) add(q query) {
	l := newLoop(q, w.client, w.state, w.logger.With("watch", q.watch()))
	w.loops = append(w.loops, l)
	w.state.watch(q.watch())
}

// Run follows the Secrets until ctx is done, then returns nil, in well under a
// second whatever the API server does. Nothing of it runs on after that. It is
// to be called once.
func (w *Watcher) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer w.client.close()
	defer w.poke.stop()
	defer group.Wait()
	for i, l := range w.loops {
		group.Go(func() { l.run(ctx) })
		if i == 0 && len(w.loops) > 1 {
			w.head(ctx, l)
		}
	}
	<-ctx.Done()
	return nil
}

// head waits until the first watch has its first answer or error. A hundred
// watches that start together would open a hundred connections, as none of
// them can know that the first one to open will carry them all.
func (w *Watcher) head(ctx context.Context, first *loop) {
	wait := time.NewTimer(headStart)
	defer wait.Stop()
	select {
	case <-first.asked:
	case <-wait.C:
	case <-ctx.Done():
	}
}

// Reread has every watch begin anew at once with a consistent list, also one that
// waits before its next try. It does not block.
func (w *Watcher) Reread() {
	for _, l := range w.loops {
		select {
		case l.reread <- struct{}{}:
		default: // one is due already
		}
	}
}

// Changed is poked when something in the Snapshot changed: data, uid, which
// Secrets there are, or that a watch has its first answer. It has room for one
// poke and does not queue: who is poked looks at the whole Snapshot.
func (w *Watcher) Changed() <-chan struct{} { return w.poke.out }

// Snapshot is what is known now. It is not held back by Settle.
func (w *Watcher) Snapshot() Snapshot { return w.state.snapshot() }

// Status is how one watch does.
type Status struct {
	Watch       string    // its WatchName, or SelectorWatch
	Up          bool      // the API server answers it
	LastContact time.Time // of the last event, bookmark or answered list; zero: none yet
}

// Status tells how each watch does, in a fixed order.
func (w *Watcher) Status() []Status {
	all := make([]Status, 0, len(w.loops))
	for _, l := range w.loops {
		all = append(all, l.health.status(l.query.watch()))
	}
	return all
}
