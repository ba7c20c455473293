package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Options is what a Notifier works with. Targets may be empty; Volume is
// required.
type Options struct {
	Targets []Target
	Volume  Volume
	// NotifyFirst: also tell of the first generation ever in this volume.
	NotifyFirst bool
	// Splay: before a notification, wait a random time up to this long, so that
	// a thousand replicas do not reconnect at once.
	Splay  time.Duration
	Logger *slog.Logger
	// Report may be nil. It is called once per change of state of a target: with
	// the error when it starts to fail, with nil once it is told again. It is
	// called by the target's worker, which waits for it.
	Report func(target string, err error)
}

// Notifier owes every target the newest generation until it has told it.
//
// It is level-triggered: a Poke says only "look again". What is owed is the
// difference of two numbers, Volume.Newest and the target's record, and so a
// lost event, a crash or a restart cannot lose a notification; see worker.
type Notifier struct {
	workers []*worker
}

// Status is one target's, for the metrics.
type Status struct {
	Target  string
	Pending bool // it has not been told of the newest generation
	// Tries since New. One that only waited (a process that is too young) is
	// neither.
	Succeeded, Failed uint64
}

// New settles the record of every target that has none (see settle); for a
// first generation to count as owed, or as told, across a crash, New comes
// before anything is published. A record that cannot be written is no error: it
// is kept in memory and written later.
func New(opts Options) (*Notifier, error) {
	if opts.Volume == nil {
		return nil, errors.New("notifier: no volume")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{}
	names := map[string]bool{}
	for _, target := range opts.Targets {
		// The name is the key of the record: two of a name would share it.
		name := target.Name()
		if name == "" || names[name] {
			return nil, fmt.Errorf("notifier: two targets are named %q, or one has no name", name)
		}
		names[name] = true
		n.workers = append(n.workers, newWorker(target, opts))
	}
	return n, nil
}

// Poke says that a newer generation may be in the volume. It never blocks.
func (n *Notifier) Poke() {
	for _, w := range n.workers {
		select {
		case w.poke <- struct{}{}:
		default: // one is waiting to be seen, and it will see this one's work
		}
	}
}

// Run tells the targets, each from its own goroutine so that none holds back
// another, until ctx is done; then it returns nil once all of them have ended,
// which is at once: it ends a command, a call and a wait. What is owed then
// stays owed, for the next start.
func (n *Notifier) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, w := range n.workers {
		all.Go(func() { w.run(ctx) })
	}
	<-ctx.Done() // also when there is no target: a Run that ends is an end for main
	all.Wait()
	return nil
}

// Status returns that of all targets, in the order of Options.Targets.
func (n *Notifier) Status() []Status {
	out := make([]Status, 0, len(n.workers))
	for _, w := range n.workers {
		out = append(out, w.status())
	}
	return out
}
