// Package notifier notifies the app of new generations.
//
// It notifies each target of the newest generation at least once, across crashes and
// restarts. For each target, the volume stores the generation of the last notification.
// Targets are independent: a failing target is retried with backoff and delays no other
// target. Generations published during a notification are combined into a single
// further notification.
//
// The package does not know Secret values, Kubernetes or the format of the volume.
// The packages below it implement the kinds of targets.
package notifier

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/secret-sync/secret-sync/internal/wake"
)

// Changes describes a notification. It contains names of Secrets and paths below the
// volume, never values.
type Changes struct {
	Generation uint64   `json:"generation"`
	Secrets    []string `json:"secrets"`
	Added      []string `json:"added"`
	Changed    []string `json:"changed"`
	Removed    []string `json:"removed"`
}

// JSON returns the body of a webhook, which is also the standard input of a command.
// Empty lists are encoded as [], not as null.
func (c Changes) JSON() []byte {
	for _, list := range []*[]string{&c.Secrets, &c.Added, &c.Changed, &c.Removed} {
		if *list == nil {
			*list = []string{}
		}
	}
	data, _ := json.Marshal(c) // a number and strings always encode
	return data
}

// A Target is a process, webhook or command to notify.
type Target struct {
	// Name is unique among the targets. It is the metric label: "process", or
	// "process/nginx" if there are several targets of a kind.
	Name string
	// Key is unique among the targets and identifies the record. It depends on the kind
	// and on the name, path or URL only, so it survives a change of the other targets. The
	// default is Name.
	Key string
	// Notify returns nil once the app is notified. Its error may be a *Failure.
	Notify func(ctx context.Context, changes Changes) error
	// Process is set if the target is a process.
	Process Process
	// Interval is the minimum time between two notifications, and between a
	// notification and the next publish. While an app reads its files, it cannot handle
	// another signal or a change of the files.
	Interval time.Duration
}

// A Process is a target that receives signals.
type Process interface {
	// Recipient returns the PID and the name of the last signaled process.
	Recipient() string
	// Survives returns an error if the process ends shortly after its signal, or the
	// error of ctx if it cannot decide.
	Survives(ctx context.Context) error
	// Settings describes how the process is signaled. A change permits new signals to a
	// stopped target.
	Settings() string
}

// Volume provides the published generations and stores the records. Its methods are
// safe for concurrent use and ignore a publish in progress.
type Volume interface {
	// Newest returns the number of the current generation, or 0 without a generation.
	Newest() uint64
	// ChangesSince returns the changes from a generation to the current generation.
	// If they are unknown, it reports all paths as changed.
	ChangesSince(generation uint64) Changes
	// Notified returns the generation of the target's last notification. known is false
	// for a target without a record.
	Notified(key string) (generation uint64, known bool)
	// LowestNotified returns the lowest generation of all records. known is false if
	// there is no record.
	LowestNotified() (generation uint64, known bool)
	// SetNotified stores this generation on disk.
	SetNotified(key string, generation uint64) error
	// Ended returns the last notification after which a process ended, and the number
	// of such notifications in a row.
	Ended(key string) (generation uint64, times int)
	// SetEnded stores these values on disk. times is 0 after a process survived.
	SetEnded(key string, generation uint64, times int) error
}

// Options configure a Notifier. All fields except Targets are required.
type Options struct {
	Targets []Target
	Volume  Volume
	// NotifyFirst requests a notification of the first generation in the volume.
	NotifyFirst bool
	Splay       time.Duration // maximum random delay before a notification
	Logger      *slog.Logger
	// Report is called when a target starts to fail. It blocks the target's worker.
	Report func(target string, err error)
}

// A Notifier notifies every target of the newest generation.
//
// It is level-triggered: Poke only requests a comparison with the volume, so a lost
// event or a restart loses no notification. See worker.
type Notifier struct {
	workers []*worker
}

// Status is the state of a target.
type Status struct {
	Target   string
	Notified uint64 // generation of the last notification
	Pending  bool   // a notification of the current generation is pending
	// PendingSince is the time at which this process found the pending notification.
	// It is zero if none is pending.
	PendingSince      time.Time
	Error             string // kind of the last failure or wait; empty after a success
	Succeeded, Failed uint64 // attempts of this process; waits do not count
	Failures          uint64 // failures since the last success
	Recipient         string // PID and name of the last signaled process
}

// New returns a Notifier and writes the missing records. Call it before the first
// publish: otherwise a crash could change whether the first generation is pending. If
// a record cannot be written, the worker retries later.
func New(opts Options) *Notifier {
	n := &Notifier{}
	for _, target := range opts.Targets {
		target.Key = cmp.Or(target.Key, target.Name)
		w := &worker{
			Options: opts, target: target, poke: wake.NewChannel(), retry: wake.NewChannel(),
			state: Status{Target: target.Name},
		}
		w.Logger = opts.Logger.With("target", target.Name)
		w.initRecord()
		w.initEnds()
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

// Retry ends the delay before the next attempt of every failing target. It never blocks.
func (n *Notifier) Retry() {
	for _, w := range n.workers {
		w.retry.Poke()
	}
}

// PublishAfter returns the time before which nothing should be published, because an
// app may be reading the files after a notification.
func (n *Notifier) PublishAfter() (latest time.Time) {
	for _, w := range n.workers {
		if t := w.quietUntil(); t.After(latest) {
			latest = t
		}
	}
	return latest
}

// Run notifies the targets until ctx is done. Then it cancels all notifications and
// delays, waits for the workers and returns nil. Pending notifications remain pending
// for the next process.
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
func (n *Notifier) Status() []Status {
	all := make([]Status, 0, len(n.workers))
	for _, w := range n.workers {
		all = append(all, w.refresh())
	}
	return all
}
