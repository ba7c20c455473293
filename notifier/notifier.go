// Package notifier notifies the app of new generations.
//
// It notifies each target of the newest generation at least once, across crashes and restarts. For each target, the
// volume stores the generation of the last notification. Targets are independent: a failing target delays no other
// target. The package knows no Secret values. The packages below it implement the kinds of targets.
package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/wake"
)

// Changes is the content of a notification.
type Changes = notification.Changes

// A Target is a process, webhook or command to notify.
type Target struct {
	Name string // metric label: "process", or "process/nginx" if there are several targets of a kind
	Key  string // of the record; depends on the kind and on the name, path or URL, not on other targets
	// Notify returns nil once the app is notified. Its error may be a *Failure.
	Notify  func(ctx context.Context, changes Changes) error
	Process Process // nil for another kind of target
}

// A Process is the process that received the last signal of a target.
type Process interface {
	Recipient() string // its PID and name
	// Survived reports whether it survived the signal for long enough. It returns an error if it ended before.
	Survived() (bool, error)
	Settings() string // how it is signaled; new settings permit new signals to a stopped target
	State() string    // describes it for Remember, after a restart
	Remember(state string)
}

// A Failure explains why a target was not notified and when to retry.
type Failure struct {
	Kind        string        // the cause, without names and paths; the log contains a single warning per kind
	RetryAfter  time.Duration // minimum delay before the next attempt, unless Retry or a newer generation ends it
	RetryWithin time.Duration // maximum delay, for attempts that cost nothing; 0: no limit
	Waiting     bool          // the target works but is not ready: the delay is RetryAfter, without backoff
	Err         error
}

// Failf returns a Failure of the given kind. format and args are those of fmt.Errorf.
func Failf(kind, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Err: fmt.Errorf(format, args...)}
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// AsFailure returns the Failure wrapped in err, or else a Failure of the kind "other". /status contains the kind, and
// the text of err may contain the name of a key.
func AsFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Kind: "other", Err: err}
}

// Volume provides the published generations and stores the records. Its methods are safe for concurrent use.
// TargetRecords and SetTargetRecord wait for a publish in progress, the other methods do not.
type Volume interface {
	Newest() uint64 // number of the current generation, or 0 without a generation
	// ChangesSince returns the changes from a generation to the current generation. If they are unknown, it
	// reports all paths as changed.
	ChangesSince(generation uint64) Changes
	// TargetRecords returns the records by the keys of the targets. If lost is set, others could not be read.
	TargetRecords() (records map[string]notification.TargetRecord, lost bool)
	SetTargetRecord(key string, record notification.TargetRecord) error // on disk
}

// Options configure a Notifier. All fields except Targets are required; Interval is required with a process.
type Options struct {
	Targets     []Target
	Volume      Volume
	NotifyFirst bool          // notify of the first generation in the volume
	Splay       time.Duration // maximum random delay before a notification
	Interval    *Interval     // of the processes
	Logger      *slog.Logger
	Report      func(target string, err error) // called when a target starts to fail; blocks its worker
}

// A Notifier notifies every target of the newest generation. It is level-triggered, see worker.
type Notifier struct {
	workers []*worker
}

// New returns a Notifier and writes the missing records. Call it before the first publish.
func New(opts Options) *Notifier {
	n := &Notifier{}
	for _, target := range opts.Targets {
		w := &worker{Options: opts, target: target, poke: wake.NewChannel()}
		w.state.Name, w.Logger = target.Name, opts.Logger.With("target", target.Name)
		w.restore()
		n.workers = append(n.workers, w)
	}
	return n
}

// Poke requests a comparison with the volume. It never blocks.
func (n *Notifier) Poke() {
	for _, w := range n.workers {
		w.poke.Poke()
	}
}

// Retry ends the delay before the next attempt of every failing target, not of a stopped one. It never blocks.
func (n *Notifier) Retry() {
	for _, w := range n.workers {
		w.retry.Store(true)
		w.poke.Poke()
	}
}

// Run notifies the targets until ctx is done. Then it cancels all notifications and delays and returns nil.
func (n *Notifier) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for _, w := range n.workers {
		workers.Go(func() { w.run(ctx) })
	}
	<-ctx.Done() // also without targets: the program ends when Run returns
	workers.Wait()
	return nil
}

// Status returns the state of all targets in the order of Options.Targets.
func (n *Notifier) Status() []status.Target {
	all := make([]status.Target, 0, len(n.workers))
	for _, w := range n.workers {
		all = append(all, w.refresh())
	}
	return all
}
