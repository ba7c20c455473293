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
	// waitBeforeSaying is how long a start may take before it says what it waits
	// for: answers come one by one, within milliseconds.
	waitBeforeSaying = time.Second
	retryMin         = 500 * time.Millisecond
	retryMax         = 30 * time.Second
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

// Observer learns what happens, for metrics and Events. Its methods are called
// from one goroutine and do not block.
type Observer interface {
	Published(generation uint64, secrets []string, took time.Duration)
	PublishFailed(reason string)
	// Refused has all Secrets that are refused now, each time that changed.
	Refused([]layout.Refusal)
	// Present has the watched Secrets that have been answered for, each time.
	Present(map[string]bool)
}

// Options are a Pipeline's; all but the durations are required.
type Options struct {
	Layout      layout.Options
	Remove      bool          // files of a Secret that is gone for backFor
	OneShot     bool          // return once a confirmed generation is in the volume
	SyncTimeout time.Duration // for the first complete generation; 0: none
	Source      Source
	Volume      Volume
	Notify      func() // a newer generation is in the volume
	Observer    Observer
	Logger      *slog.Logger
}

// Pipeline is made by New and run once.
type Pipeline struct {
	Options
	started   time.Time
	gone      map[string]time.Time // Secret → since when it is known to be gone
	retry     time.Duration        // after the last publish failed; 0: it did not
	lastError string               // that was logged
	waiting   string               // that was logged
	refused   []layout.Refusal     // that were reported
	pass      sync.Mutex           // held while the snapshot is dealt with
	observed  atomic.Pointer[map[string]Observed]
}

// New makes a Pipeline.
func New(o Options) *Pipeline {
	return &Pipeline{Options: o, gone: map[string]time.Time{}}
}

// Run publishes until ctx is done, and returns nil then, or with OneShot when
// its job is done. ErrTimeout and errors of the volume that wrap
// writer.ErrUnusable are the others.
func (p *Pipeline) Run(ctx context.Context) error {
	p.started = time.Now()
	first := waitBeforeSaying
	if p.SyncTimeout > 0 {
		first = min(first, p.SyncTimeout)
	}
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.Source.Changed():
		case <-timer.C:
		}
		wait, done, err := p.look()
		if done || err != nil {
			return err
		}
		if wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// look examines everything once and does what is to be done. wait is the time
// after which to look again although nothing changed, 0 for never.
func (p *Pipeline) look() (wait time.Duration, done bool, err error) {
	p.pass.Lock()
	defer p.pass.Unlock()
	number, previous := p.Volume.Current()
	snapshot := p.Source.Snapshot()
	p.Observer.Present(p.present(snapshot))
	removed, wait := p.removed(snapshot, previous)
	plan := layout.Make(p.Layout, layout.Input{Snapshot: snapshot, Previous: previous, Published: number > 0, Removed: removed})
	p.reportRefused(plan.Refused)
	if plan.Answered || time.Since(p.started) >= waitBeforeSaying {
		p.reportWaiting(plan.Waiting)
	}

	switch left := restartPatience - time.Since(p.started); {
	case len(plan.Waiting) > 0:
		p.observe(snapshot, plan.Refused)
		wait = soonest(wait, max(waitBeforeSaying-time.Since(p.started), 0))
	case number > 0 && !plan.Answered && left > 0:
		wait = soonest(wait, left)
	default:
		if err := p.publish(number, plan); errors.Is(err, writer.ErrUnusable) {
			return 0, false, err
		} else if err != nil {
			wait = soonest(wait, p.retry)
		} else {
			p.observe(snapshot, plan.Refused)
			if p.OneShot && plan.Confirmed {
				return 0, true, nil
			}
		}
	}
	return p.deadline(wait, plan)
}

// publish puts the plan's set into the volume and notifies whoever has to know.
func (p *Pipeline) publish(before uint64, plan layout.Plan) error {
	began := time.Now()
	number, err := p.Volume.Publish(plan.Set)
	took := time.Since(began)
	if err != nil {
		p.retry = min(max(2*p.retry, retryMin), retryMax)
		p.Observer.PublishFailed(writer.Reason(err))
		if text := writer.Reason(err); text != p.lastError {
			p.lastError = text
			p.Logger.Error("could not publish, will try again; the last good files stay", "err", err)
		}
		return err
	}
	if p.lastError != "" {
		p.Logger.Info("publishing works again")
	}
	p.retry, p.lastError = 0, ""
	if number != before {
		changes := p.Volume.ChangesSince(before)
		p.Observer.Published(number, changes.Secrets, took)
		p.Logger.Info("published", "generation", number, "secrets", changes.Secrets,
			"added", changes.Added, "changed", changes.Changed, "removed", changes.Removed,
			"complete", plan.Set.Complete, "dur", took.String())
		p.Notify()
	}
	return nil
}

// deadline is the end of a pass: of all passes when the time for a first
// complete generation is over.
func (p *Pipeline) deadline(wait time.Duration, plan layout.Plan) (time.Duration, bool, error) {
	if p.SyncTimeout <= 0 {
		return wait, false, nil
	}
	if number, set := p.Volume.Current(); number > 0 && set.Complete && !p.OneShot {
		return wait, false, nil
	}
	left := p.SyncTimeout - time.Since(p.started)
	if left > 0 {
		return soonest(wait, left), false, nil
	}
	why := plan.Waiting
	for _, r := range plan.Refused {
		why = append(why, fmt.Sprintf("Secret %q is refused: %s", r.Secret, r.Detail))
	}
	if p.lastError != "" {
		why = append(why, "publishing fails: "+p.lastError)
	}
	if len(why) == 0 {
		why = append(why, "a required Secret is gone, or a watch has no answer")
	}
	return 0, false, fmt.Errorf("%w: after SECRETSYNC_SYNC_TIMEOUT=%s: %s", ErrTimeout, p.SyncTimeout, strings.Join(slices.Compact(why), "; "))
}

// removed gives the Secrets that have been gone for so long that their files go
// too, and the time until the next one has.
func (p *Pipeline) removed(s watcher.Snapshot, previous writer.Set) (removed map[string]bool, wait time.Duration) {
	removed = map[string]bool{}
	if !p.Remove {
		return removed, 0
	}
	for name := range p.gone {
		if _, back := s.Secrets[name]; back {
			delete(p.gone, name)
		}
	}
	for name := range previous.Secrets {
		if _, exists := s.Secrets[name]; exists || s.Unanswered[p.Layout.Watch(name)] {
			continue
		}
		since, known := p.gone[name]
		if !known {
			since = time.Now()
			p.gone[name] = since
		}
		if left := backFor - time.Since(since); left > 0 {
			wait = soonest(wait, left)
		} else {
			removed[name] = true
		}
	}
	return removed, wait
}

// soonest is the shorter of two waits, of which 0 is for ever.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// present returns, for each Secret that was answered for, whether it exists.
func (p *Pipeline) present(s watcher.Snapshot) map[string]bool {
	out := map[string]bool{}
	for name := range s.Secrets {
		out[name] = true
	}
	for _, name := range slices.Concat(p.Layout.Required, p.Layout.Optional) {
		if !out[name] && !s.Unanswered[watcher.WatchName(name)] {
			out[name] = false
		}
	}
	return out
}

// reportRefused reports refusals once per change.
func (p *Pipeline) reportRefused(now []layout.Refusal) {
	if slices.Equal(now, p.refused) {
		return
	}
	before := map[string]layout.Refusal{}
	for _, r := range p.refused {
		before[r.Secret] = r
	}
	for _, r := range now {
		if before[r.Secret] != r {
			p.Logger.Warn("a Secret is refused, its last good files stay", "secret", r.Secret, "reason", r.Reason, "detail", r.Detail)
		}
		delete(before, r.Secret)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		p.Logger.Info("a Secret is not refused any more", "secret", name)
	}
	p.refused = now
	p.Observer.Refused(now)
}

// reportWaiting says once per change what a first generation waits for.
func (p *Pipeline) reportWaiting(why []string) {
	text := strings.Join(why, "; ")
	if text != p.waiting && text != "" {
		p.Logger.Info("nothing is published yet", "waiting", why)
	}
	p.waiting = text
}
