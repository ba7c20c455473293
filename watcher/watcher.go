// Package watcher keeps a Snapshot of selected Secrets equal to the API server, and
// reports changes.
//
// The Snapshot is never older than the last consistent read. Every watch begins with a
// quorum list. A new list follows when the watch ends, after three minutes without news,
// and after Reread. The answer of a list is authoritative, even if its versions are
// lower than the stored versions: a cluster restored from a backup looks like this.
//
// While the API server is unreachable, the Snapshot stays unchanged, and Status reports
// its age.
//
// The package knows Kubernetes, through package kube. It knows neither files nor the use
// of a Snapshot.
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
	"github.com/secret-sync/secret-sync/internal/wake"
)

const (
	// firstWait limits the delay of the other watches at startup.
	firstWait = 3 * time.Second
	// rereadInterval is the shortest time between two reads started by Reread.
	rereadInterval = 3 * time.Second
)

// Options configure a Watcher. Config, Namespace, Logger and either Names or Selector
// (or both) are required.
type Options struct {
	Config    *rest.Config  // configuration of the cluster; not modified
	Namespace string        // namespace of all Secrets
	Names     []string      // Secrets to watch by name
	Selector  string        // label selector for more Secrets, "" for none
	Debounce  time.Duration // delay Changed until changes stop for this long; 0 for no delay
	Logger    *slog.Logger
}

// A Watcher follows the Secrets of its Options. Its methods are safe for concurrent use,
// before, during and after Run.
type Watcher struct {
	client    *kube.Client
	watches   []*watch // sorted by name, then the selector
	shared    *shared
	rereads   wake.Channel // poked by Reread
	changes   wake.Channel // poked by the watches
	debounced wake.Channel // returned by Changed; equal to changes without a debounce time
	debounce  time.Duration
}

// New returns a Watcher. It sends no request.
func New(o Options) (*Watcher, error) {
	selector, err := labels.Parse(o.Selector)
	if err != nil {
		return nil, fmt.Errorf("parse selector %q: %w", o.Selector, err)
	}
	client, err := kube.NewClient(o.Config)
	if err != nil {
		return nil, err
	}
	w := &Watcher{client: client, rereads: wake.NewChannel(), changes: wake.NewChannel(), debounce: o.Debounce}
	w.debounced = w.changes
	if w.debounce > 0 {
		w.debounced = wake.NewChannel()
	}
	query := kube.Query{Resource: kube.Secrets, Namespace: o.Namespace}
	names := slices.Compact(slices.Sorted(slices.Values(o.Names)))
	w.shared = newShared(names)
	for _, query.Name = range names {
		w.add(filter{Query: query, labels: labels.Everything()}, o.Logger)
	}
	if o.Selector != "" {
		query.Name, query.Selector = "", selector.String()
		w.add(filter{Query: query, labels: selector, named: names}, o.Logger)
	}
	return w, nil
}

func (w *Watcher) add(f filter, logger *slog.Logger) {
	w.watches = append(w.watches, newWatch(f, client{w.client}, w.shared, w.changes.Poke, logger))
}

// Run follows the Secrets until ctx is done. It returns nil within a second, whatever the
// API server does, and leaves no goroutine behind. Run must be called once.
func (w *Watcher) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer w.client.Close()
	defer group.Wait()
	if w.debounce > 0 {
		group.Go(func() { debounce(ctx, w.changes, w.debounced, w.debounce) })
	}
	group.Go(func() { w.runRereads(ctx) })
	for i, watch := range w.watches {
		group.Go(func() { watch.run(ctx) })
		if i == 0 && len(w.watches) > 1 {
			waitForFirst(ctx, watch)
		}
	}
	<-ctx.Done()
	return nil
}

// waitForFirst waits until the first watch receives an answer or an error. If a hundred
// watches started at once, none of them would find an open HTTP/2 connection, and each
// would open its own.
func waitForFirst(ctx context.Context, first *watch) {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	select {
	case <-first.first:
	case <-ctx.Done():
	}
}

// Reread starts a consistent read in every watch, even during a pause after an error. It
// does not wait for the answers. The first call starts the reads at once. Calls
// within rereadInterval are combined. A list in progress is not canceled: the read starts
// after it.
func (w *Watcher) Reread() { w.rereads.Poke() }

func (w *Watcher) runRereads(ctx context.Context) {
	for {
		select {
		case <-w.rereads:
		case <-ctx.Done():
			return
		}
		for _, watch := range w.watches {
			watch.reread.Poke()
		}
		select {
		case <-time.After(rereadInterval):
		case <-ctx.Done():
			return
		}
	}
}

// Changed returns a channel of capacity one. The Watcher pokes it after a change of the
// Snapshot: other data, another UID, an added or removed Secret, or a newly synced watch.
// A change of metadata alone is not reported.
func (w *Watcher) Changed() <-chan struct{} { return w.debounced }

// Snapshot returns the current state. The debounce time does not delay it.
func (w *Watcher) Snapshot() Snapshot {
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	all := Snapshot{Secrets: map[string]Secret{}, Unsynced: map[string]bool{}}
	for _, watch := range w.watches {
		if watch.secrets == nil {
			all.Unsynced[watch.watchName()] = true
		}
		maps.Copy(all.Secrets, watch.secrets) // the watches have no name in common
	}
	return all
}

// A Status is the state of a watch.
type Status struct {
	Watch       string    // WatchName of the Secret, or SelectorWatch
	Up          bool      // whether the watch is connected
	LastContact time.Time // time of the last event, bookmark or list; zero if there was none
}

// Status returns the state of every watch, in a fixed order.
func (w *Watcher) Status() []Status {
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	all := make([]Status, len(w.watches))
	for i, watch := range w.watches {
		all[i] = Status{Watch: watch.watchName(), Up: watch.up, LastContact: watch.contact}
	}
	return all
}
