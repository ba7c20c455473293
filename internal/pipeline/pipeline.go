// Package pipeline joins the rooms: a snapshot of the watcher becomes the set of
// a generation, the writer publishes it, the notifier is poked. It is
// level-triggered: each pass looks at the whole snapshot and the whole volume,
// so nothing that is missed or comes twice matters.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

const (
	// backFor is how soon a deleted Secret must be back to keep its files:
	// operators delete and recreate.
	backFor = 5 * time.Second
	// restartPatience is how long a restart waits for all watches to be answered,
	// so that what changed meanwhile becomes one generation.
	restartPatience = 5 * time.Second
	// quietStart is the time of a start in which the log does not have what it waits
	// for: answers come one by one, within milliseconds.
	quietStart = time.Second
	retryMin   = 500 * time.Millisecond
	retryMax   = 30 * time.Second
	forever    = time.Duration(1<<63 - 1)
)

// ErrTimeout is what Run gives when there is no complete generation in time.
var ErrTimeout = errors.New("no complete generation in time")

// Source is where snapshots come from: a watcher.Watcher.
type Source interface {
	Changed() <-chan struct{}
	Snapshot() watcher.Snapshot
}

// Volume is where generations go: a writer.Writer.
type Volume interface {
	Current() (number uint64, set writer.Set)
	Publish(set writer.Set) (number uint64, err error)
	ChangesSince(generation uint64) writer.Changes
}

// Observer learns what happens: the notifier, metrics and Events. Its methods are
// called from one goroutine and do not block.
type Observer interface {
	// Seen has every Secret that has been answered for, in each pass.
	Seen(map[string]Observed)
	// Refused is called once for each Secret and reason.
	Refused(layout.Refusal)
	Published(generation uint64, secrets []string, took time.Duration)
	PublishFailed(reason string)
}

// Options are a Pipeline's; all but the durations are required.
type Options struct {
	Layout      layout.Options
	Remove      bool          // files of a Secret that is gone for backFor
	OneShot     bool          // return once a confirmed generation is in the volume
	SyncTimeout time.Duration // for the first complete generation; 0: none
	Source      Source
	Volume      Volume
	Observer    Observer
	Logger      *slog.Logger
}

// Pipeline is made by New and run once.
type Pipeline struct {
	Options
	started  time.Time
	gone     map[string]time.Time // Secret → since when it is known to be gone
	retry    time.Duration        // after the last publish failed; 0: it did not
	problem  string               // why there is no newer generation, as it was logged
	refused  []layout.Refusal     // as they were reported
	pass     sync.Mutex           // held while the snapshot is dealt with
	observed atomic.Pointer[map[string]Observed]
}

// New makes a Pipeline.
func New(o Options) *Pipeline {
	p := &Pipeline{Options: o, gone: map[string]time.Time{}}
	p.observed.Store(&map[string]Observed{})
	return p
}

// Run publishes until ctx is done, and returns nil then, or with OneShot when
// its job is done. ErrTimeout and errors of the volume that wrap
// writer.ErrUnusable are the others.
func (p *Pipeline) Run(ctx context.Context) error {
	p.started = time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.Source.Changed():
		case <-timer.C:
		}
		again, done, err := p.look()
		if done || err != nil {
			return err
		}
		timer.Reset(again)
	}
}

// look examines everything once and does what is to be done. again is the time
// after which to look once more although nothing changed.
func (p *Pipeline) look() (again time.Duration, done bool, err error) {
	p.pass.Lock()
	defer p.pass.Unlock()
	number, previous := p.Volume.Current()
	snapshot := p.Source.Snapshot()
	removed, again := p.removed(snapshot, previous)
	plan := layout.Make(p.Layout, layout.Input{Snapshot: snapshot, Previous: previous, Published: number > 0, Removed: removed})
	seen := p.see(snapshot, plan)
	defer p.Observer.Seen(seen)
	p.reportRefused(plan.Refused)

	switch age := time.Since(p.started); {
	case len(plan.Waiting) > 0:
		p.observed.Store(&seen)
		if !plan.Answered && age < quietStart {
			again = min(again, quietStart-age)
		} else if why := strings.Join(plan.Waiting, "; "); why != p.problem {
			p.problem = why
			p.Logger.Info("nothing is published yet", "waiting", plan.Waiting)
		}
	case !plan.Answered && age < restartPatience:
		again = min(again, restartPatience-age)
	default:
		if err := p.publish(number, plan.Set); errors.Is(err, writer.ErrUnusable) {
			return 0, false, err
		} else if err != nil {
			return p.deadline(min(again, p.retry), plan)
		}
		p.observed.Store(&seen)
		if p.OneShot && plan.Confirmed {
			return 0, true, nil
		}
	}
	return p.deadline(again, plan)
}

// publish puts the set into the volume, and reports how that went.
func (p *Pipeline) publish(before uint64, set writer.Set) error {
	began := time.Now()
	number, err := p.Volume.Publish(set)
	took := time.Since(began)
	if err != nil {
		p.retry = min(max(2*p.retry, retryMin), retryMax)
		p.Observer.PublishFailed(writer.Reason(err))
		if problem := "publishing fails: " + writer.Reason(err); problem != p.problem {
			p.problem = problem
			p.Logger.Error("could not publish, will try again; the last good files stay", "err", err)
		}
		return err
	}
	if p.retry > 0 {
		p.Logger.Info("publishing works again")
	}
	p.retry, p.problem = 0, ""
	if number != before {
		changes := p.Volume.ChangesSince(before)
		p.Logger.Info("published", "generation", number, "secrets", changes.Secrets,
			"added", changes.Added, "changed", changes.Changed, "removed", changes.Removed,
			"complete", set.Complete, "dur", took.String())
		p.Observer.Published(number, changes.Secrets, took)
	}
	return nil
}

// deadline is the end of a pass: of all passes when the time for a first
// complete generation is over.
func (p *Pipeline) deadline(again time.Duration, plan layout.Plan) (time.Duration, bool, error) {
	number, set := p.Volume.Current()
	left := p.SyncTimeout - time.Since(p.started)
	switch {
	case p.SyncTimeout <= 0, number > 0 && set.Complete && !p.OneShot:
		return again, false, nil
	case left > 0:
		return min(again, left), false, nil
	}
	why := plan.Waiting
	for _, r := range plan.Refused {
		why = append(why, fmt.Sprintf("Secret %q is refused: %s", r.Secret, r.Detail))
	}
	if p.retry > 0 {
		why = append(why, p.problem)
	}
	if len(why) == 0 {
		why = append(why, "a required Secret is gone, or a watch has no answer")
	}
	return 0, false, fmt.Errorf("%w: after SECRETSYNC_SYNC_TIMEOUT=%s: %s", ErrTimeout, p.SyncTimeout, strings.Join(why, "; "))
}

// removed gives the Secrets that have been gone for so long that their files go
// too, and the time until there is another.
func (p *Pipeline) removed(s watcher.Snapshot, previous writer.Set) (removed map[string]bool, again time.Duration) {
	removed, again = map[string]bool{}, forever
	if !p.Remove {
		return removed, again
	}
	exists := func(name string) bool { _, ok := s.Secrets[name]; return ok }
	maps.DeleteFunc(p.gone, func(name string, _ time.Time) bool { return exists(name) })
	for name := range previous.Secrets {
		if exists(name) || s.Unsynced[p.Layout.Watch(name)] {
			continue
		}
		if p.gone[name].IsZero() {
			p.gone[name] = time.Now()
		}
		if left := backFor - time.Since(p.gone[name]); left > 0 {
			again = min(again, left)
		} else {
			removed[name] = true
		}
	}
	return removed, again
}

// reportRefused reports refusals once per change.
func (p *Pipeline) reportRefused(now []layout.Refusal) {
	for _, r := range now {
		if !slices.Contains(p.refused, r) {
			p.Logger.Warn("a Secret is refused, its last good files stay", "secret", r.Secret, "reason", r.Reason, "detail", r.Detail)
			p.Observer.Refused(r)
		}
	}
	for _, r := range p.refused {
		if !slices.ContainsFunc(now, func(n layout.Refusal) bool { return n.Secret == r.Secret }) {
			p.Logger.Info("a Secret is not refused any more", "secret", r.Secret)
		}
	}
	p.refused = now
}
