// Package watcher keeps a Snapshot of selected Secrets equal to the API server, and reports changes.
//
// The Snapshot is never older than the last consistent read. Every watch begins with a quorum list. A new list follows
// when the watch ends, after three minutes without news, and after Reread. The answer of a list is authoritative, even
// if its versions are lower than the stored versions: a cluster restored from a backup looks like this. While the API
// server is unreachable, the Snapshot stays unchanged.
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
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/wake"
)

// RereadInterval is the shortest time between the starts of two lists that follow Reread.
const RereadInterval = 3 * time.Second

const (
	firstWait   = 3 * time.Second // longest delay of the other watches at startup
	maxDebounce = 10              // longest delay of a poke, as a multiple of the debounce time
)

// Options configure a Watcher. Config, Namespace, Logger and either Names or Selector (or both) are required.
type Options struct {
	Config    *rest.Config  // not modified
	Namespace string        // of all Secrets
	Names     []string      // Secrets to watch by name
	Selector  string        // label selector for more Secrets, "" for none
	Debounce  time.Duration // delay Changed until changes stop for this long; 0 for no delay
	Logger    *slog.Logger
}

// A Watcher follows the Secrets of its Options. Its methods are safe for concurrent use, before, during and after Run.
type Watcher struct {
	source    source
	names     []string // Secrets with a watch by name, sorted
	logger    *slog.Logger
	watches   []*watch     // sorted by name, then the selector
	changes   wake.Channel // poked by the watches after a change
	debounced wake.Channel // returned by Changed
	debounce  time.Duration

	mu      sync.Mutex
	outages map[string]*outage // by cause; an outage without a watch is over
}

// New returns a Watcher. It sends no request.
func New(o Options) (*Watcher, error) {
	selector, err := labels.Parse(o.Selector)
	if err != nil {
		return nil, fmt.Errorf("parse selector %q: %w", o.Selector, err)
	}
	c, err := kube.NewClient(o.Config)
	if err != nil {
		return nil, err
	}
	names := slices.Compact(slices.Sorted(slices.Values(o.Names)))
	w := &Watcher{
		source: client{c}, names: names, logger: o.Logger, debounce: o.Debounce,
		changes: wake.NewChannel(), debounced: wake.NewChannel(), outages: map[string]*outage{},
	}
	query := kube.Query{Resource: kube.Secrets, Namespace: o.Namespace}
	for _, query.Name = range names {
		w.watches = append(w.watches, newWatch(w, query, labels.Everything()))
	}
	if o.Selector != "" {
		query.Name, query.Selector = "", selector.String()
		w.watches = append(w.watches, newWatch(w, query, selector))
	}
	return w, nil
}

// Run follows the Secrets until ctx is done. It returns nil within a second, whatever the API server does, and leaves
// no goroutine behind. Run must be called once.
func (w *Watcher) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer w.source.Close()
	defer group.Wait()
	group.Go(func() { debounce(ctx, w.changes, w.debounced, w.debounce) })
	for i, watch := range w.watches {
		group.Go(func() { watch.run(ctx) })
		if i > 0 {
			continue
		}
		select { // the first watch opens the HTTP/2 connection; a hundred at once would open a hundred
		case <-watch.answered:
		case <-time.After(firstWait):
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	return nil
}

// Reread starts a consistent read in every watch, even during a pause after an error. A list in progress and
// RereadInterval delay it. Reread does not wait for the answers.
func (w *Watcher) Reread() {
	for _, watch := range w.watches {
		watch.reread.Poke()
	}
}

// Changed returns a channel of capacity one. The Watcher pokes it after a change of the Snapshot: other data, another
// UID, an added or removed Secret, or a newly synced watch. A change of metadata alone is not reported.
func (w *Watcher) Changed() <-chan struct{} { return w.debounced }

// Snapshot returns the current state. The debounce time does not delay it.
func (w *Watcher) Snapshot() Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := Snapshot{Secrets: map[string]Secret{}, Unsynced: map[string]bool{}}
	for _, watch := range w.watches {
		if watch.secrets == nil {
			all.Unsynced[watch.state.Name] = true
		}
		maps.Copy(all.Secrets, watch.secrets) // the watches have no name in common
	}
	return all
}

// Status returns the state of every watch, in a fixed order.
func (w *Watcher) Status() (all []status.Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, watch := range w.watches {
		all = append(all, watch.state)
	}
	return all
}

// debounce passes a poke on after a period of length quiet without another poke. It returns when ctx is done, and drops
// a waiting poke.
func debounce(ctx context.Context, in <-chan struct{}, out wake.Channel, quiet time.Duration) {
	var latest time.Time
	var due <-chan time.Time // nil if no poke waits
	for {
		select {
		case <-ctx.Done():
			return
		case <-in:
			if due == nil {
				latest = time.Now().Add(maxDebounce * quiet)
			}
			due = time.After(min(quiet, time.Until(latest)))
		case <-due:
			due = nil
			out.Poke()
		}
	}
}
