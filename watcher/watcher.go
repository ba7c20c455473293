// Package watcher keeps a Snapshot of some Secrets equal to what the API server
// has, and notifies its user of changes.
//
// What it promises: the Snapshot is never older than the last consistent read.
// Every watch begins with a quorum list. It starts again when it ended for any
// reason, when nothing new came for three minutes, and at Reread. The answer of
// such a list is the truth, also when its versions are lower than known ones:
// that is what a cluster restored from a backup looks like.
//
// What it does not promise: to be current while the API server cannot be
// reached. Meanwhile the Snapshot stays what it was, and Status reports how old
// that is.
//
// It knows Kubernetes; requests and their errors are those of kube. It must
// know no file, and not what a Snapshot is for.
package watcher

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// firstWait is how long the other watches wait for the first one at most.
const firstWait = 3 * time.Second

// Options are what a Watcher is made from.
type Options struct {
	Config    *rest.Config  // of the cluster; it is not modified
	Namespace string        // of all the Secrets; required, and so is one of the next two
	Names     []string      // watched by name, required and optional alike
	Selector  string        // a label selector; "" for none
	Settle    time.Duration // wait for this long without a change before Changed is poked, at most 10 times this long; 0: poke at once
	Logger    *slog.Logger
}

// Watcher follows the Secrets of its Options. Its methods may be called from
// any goroutine, before, while and after Run.
type Watcher struct {
	client  *kube.Client
	watches []*watch   // the names in order, then the selector
	mu      sync.Mutex // guards what all watches know
	changes poker      // of what they know
	settled poker      // the same, after Settle
	settle  time.Duration
}

// New makes a Watcher. No request is made before Run.
func New(o Options) (*Watcher, error) {
	selector, err := labels.Parse(o.Selector)
	if err != nil {
		return nil, fmt.Errorf("parse selector %q: %w", o.Selector, err)
	}
	api, err := kube.NewClient(o.Config)
	if err != nil {
		return nil, err
	}
	w := &Watcher{client: api, changes: newPoker(), settle: o.Settle}
	w.settled = w.changes
	if w.settle > 0 {
		w.settled = newPoker()
	}
	names := slices.Compact(slices.Sorted(slices.Values(o.Names)))
	for _, name := range names {
		w.add(filter{Query: kube.Query{Kind: "Secret", Namespace: o.Namespace, Name: name}, labels: labels.Everything()}, o.Logger)
	}
	if o.Selector != "" {
		w.add(filter{Query: kube.Query{Kind: "Secret", Namespace: o.Namespace, Selector: selector.String()}, labels: selector, named: names}, o.Logger)
	}
	return w, nil
}

func (w *Watcher) add(f filter, logger *slog.Logger) {
	w.watches = append(w.watches, newWatch(f, client{w.client}, &w.mu, w.changes.poke, logger))
}

// Run follows the Secrets until ctx is done, then returns nil, in well under a
// second whatever the API server does. Nothing of it runs on after that. It is
// to be called once.
func (w *Watcher) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer w.client.Close()
	defer group.Wait()
	if w.settle > 0 {
		group.Go(func() { settle(ctx, w.changes, w.settled, w.settle) })
	}
	for i, one := range w.watches {
		group.Go(func() { one.run(ctx) })
		if i == 0 && len(w.watches) > 1 {
			waitForFirst(ctx, one)
		}
	}
	<-ctx.Done()
	return nil
}

// waitForFirst waits until a watch has its first answer or error. A hundred
// watches that start together would open a hundred connections, as none of them
// can know that the first one to open will carry them all.
func waitForFirst(ctx context.Context, first *watch) {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	select {
	case <-first.first:
	case <-ctx.Done():
	}
}

// Reread makes every watch start again with a consistent read at once, also a watch
// that waits after an error. It does not wait for the answers.
func (w *Watcher) Reread() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.watches {
		one.restart()
	}
}

// Changed is poked when something in the Snapshot changed: data, uid, which
// Secrets there are, or that a watch has its first answer. It has room for one
// poke and does not queue: whoever is poked looks at the whole Snapshot.
func (w *Watcher) Changed() <-chan struct{} { return w.settled }

// Snapshot is what is known now. It is not held back by Settle.
func (w *Watcher) Snapshot() Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := Snapshot{Secrets: map[string]Secret{}, Unanswered: map[string]bool{}}
	for _, one := range w.watches {
		if one.secrets == nil {
			all.Unanswered[one.watch()] = true
		}
		maps.Copy(all.Secrets, one.secrets) // no name is in two of them
	}
	return all
}

// Status is how one watch does.
type Status struct {
	Watch       string    // its WatchName, or SelectorWatch
	Up          bool      // the API server answers it
	LastContact time.Time // of the last event, bookmark or answered list; zero: none yet
}

// Status reports how each watch does, in a fixed order.
func (w *Watcher) Status() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Status, len(w.watches))
	for i, one := range w.watches {
		all[i] = Status{Watch: one.watch(), Up: one.up, LastContact: one.contact}
	}
	return all
}
