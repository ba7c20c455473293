// Package notifier notifies the app that a new generation was published.
//
// It promises each target the newest generation at least once, across crashes
// and restarts: what each was notified of last is kept in the volume. A target
// that fails is retried with backoff and does not delay another. Several
// generations that are published meanwhile become one notification.
//
// It knows neither values of Secrets nor Kubernetes nor how the volume is
// written, and nothing of processes, URLs or commands: each kind of target is a
// package below this one.
package notifier

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

// Changes is what a target is notified of: names of Secrets and paths below the
// volume, never values.
type Changes struct {
	Generation uint64   `json:"generation"`
	Secrets    []string `json:"secrets"`
	Added      []string `json:"added"`
	Changed    []string `json:"changed"`
	Removed    []string `json:"removed"`
}

// JSON is the body of a webhook and the standard input of a command. No list is
// null, so that the receiver can loop over each unchecked.
func (c Changes) JSON() []byte {
	for _, list := range []*[]string{&c.Secrets, &c.Added, &c.Changed, &c.Removed} {
		if *list == nil {
			*list = []string{}
		}
	}
	data, _ := json.Marshal(c) // a number and strings: that cannot fail
	return data
}

// Target is one way to notify the app.
type Target struct {
	// Name is the key of the target's record and the label of its metrics, and no
	// other target's: "process", or "process/nginx" where there are several of a kind.
	Name string
	// Notify returns nil once the app has been notified. An error may be a
	// *Failure, which says more.
	Notify func(ctx context.Context, changes Changes) error
}

// Volume is what the notifier has to know of the volume. Its methods are safe
// for concurrent use and show what is published, never what is about to be.
type Volume interface {
	// Newest is the number of the generation in the volume, 0 for none.
	Newest() uint64
	// ChangesSince returns what changed from a generation to the newest one;
	// all paths count as changed where that is not known.
	ChangesSince(generation uint64) Changes
	// Notified is the generation that the target was notified of last; known is
	// false for a target without a record.
	Notified(target string) (generation uint64, known bool)
	// SetNotified records it, on disk when it returns nil.
	SetNotified(target string, generation uint64) error
}

// Options configure a Notifier. Only Targets may be empty.
type Options struct {
	Targets []Target
	Volume  Volume
	// NotifyFirst: also notify of the first generation ever in this volume.
	NotifyFirst bool
	Splay       time.Duration // the longest random wait before a notification
	Logger      *slog.Logger
	// Report is called when a target starts to fail. The target's worker waits for it.
	Report func(target string, err error)
}

// Notifier notifies every target of the newest generation.
//
// It is level-triggered: a Poke only says "look again", so that neither a lost event
// nor a restart loses a notification; see worker.
type Notifier struct {
	workers []*worker
}

// Status is the state of one target.
type Status struct {
	Target   string
	Notified uint64 // generation
	Pending  bool   // the newest generation is another one
	// PendingSince is when this process found it pending; zero when it is not.
	PendingSince      time.Time
	Error             string // the kind of the last failure or wait; "" after a success
	Succeeded, Failed uint64 // tries since New, but those that only had to wait
	Failures          uint64 // since the last success
}

// New settles the record of every target that has none. Call it before anything is
// published, so that a crash does not change whether the first generation is
// pending. A record that cannot be written is no error: it is written later.
func New(opts Options) *Notifier {
	n := &Notifier{}
	for _, target := range opts.Targets {
		w := &worker{Options: opts, target: target, poke: make(chan struct{}, 1), state: Status{Target: target.Name}}
		w.Logger = opts.Logger.With("target", target.Name)
		w.settle()
		n.workers = append(n.workers, w)
	}
	return n
}

// Poke says that a newer generation may be in the volume. It never blocks.
func (n *Notifier) Poke() {
	for _, w := range n.workers {
		select {
		case w.poke <- struct{}{}:
		default: // an earlier poke is still unseen and does as well
		}
	}
}

// Run notifies the targets, each from its own goroutine, until ctx is done. Then
// it ends commands, calls and waits, and returns nil as soon as all workers have
// ended. What is pending stays so for the next start.
func (n *Notifier) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, w := range n.workers {
		all.Go(func() { w.run(ctx) })
	}
	<-ctx.Done() // without targets, too: a Run that returns ends the program
	all.Wait()
	return nil
}

// Status returns the state of all targets, in the order of Options.Targets.
func (n *Notifier) Status() []Status {
	out := make([]Status, 0, len(n.workers))
	for _, w := range n.workers {
		out = append(out, w.refresh())
	}
	return out
}
