// Package pipeline connects the parts: it makes a generation from each snapshot of the watcher,
// lets the writer publish it, and reports the result. It is level-triggered: every step examines
// the whole snapshot and the whole volume, so a lost or repeated event has no effect.
package pipeline

import (
	"cmp"
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

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/wake"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

const (
	// Operators recreate Secrets. A deleted Secret keeps its files if it exists again in time.
	recreateTime = 5 * time.Second
	// A restart waits for all watches, to publish all changes since then as a single generation.
	restartDelay = 5 * time.Second
	quietStart   = time.Second // the log does not mention earlier that answers are missing
	longestPause = 30 * time.Second
	forever      = time.Duration(1<<63 - 1)
)

// The errors of Run: no complete generation was published in time, or a one-shot run was stopped.
var (
	ErrTimeout = errors.New("no complete generation in time")
	ErrStopped = errors.New("stopped before a generation was confirmed by the API server")
)

// A Source delivers snapshots: the watcher.
type Source interface {
	Changed() <-chan struct{}
	Snapshot() watcher.Snapshot
}

// A Publisher writes generations to the volume: the writer.
type Publisher interface {
	Current() (number uint64, content generation.Content)
	Publish(ctx context.Context, content generation.Content) (number uint64, err error)
	ChangesSince(generation uint64) notification.Changes
}

// An Observer receives the results. A single goroutine calls its methods. They do not block.
type Observer interface {
	Secrets(map[string]SecretState) // the state of every synced Secret after each step
	Rejected(layout.Rejection)      // once for each Secret and reason
	Published(generation uint64, secrets []string, took time.Duration)
	PublishFailed(reason string)
}

// Options configure a Pipeline. All but the durations and the bools are required.
type Options struct {
	Rules         layout.Rules
	RemoveDeleted bool          // remove the files of a Secret recreateTime after its deletion
	OneShot       bool          // return after the current version of every required Secret was published
	SyncTimeout   time.Duration // for the first complete generation; 0: no limit
	Source        Source
	Publisher     Publisher
	PublishAfter  func() time.Time // the time before which nothing is published
	Observer      Observer
	Logger        *slog.Logger
}

// A Pipeline publishes the Secrets of a Source. Create it with New and call Run once.
type Pipeline struct {
	Options
	started  time.Time
	deleted  map[string]time.Time        // when each deleted Secret was first missing
	backoff  wake.Backoff                // of failed publishes
	failing  bool                        // whether the last publish failed
	problem  string                      // the logged reason for the lack of a newer generation
	rejected map[string]layout.Rejection // as reported, by Secret
	repeated map[string]repetition
	step     sync.Mutex // held during a step
	states   atomic.Pointer[map[string]SecretState]
}

// New returns a Pipeline.
func New(o Options) *Pipeline {
	p := &Pipeline{Options: o, backoff: wake.NewBackoff(longestPause), repeated: map[string]repetition{}}
	p.states.Store(&map[string]SecretState{})
	return p
}

// Run publishes until ctx ends and then returns nil. With OneShot it returns nil after it did its job, and ErrStopped
// if ctx ends before. Its other errors are ErrTimeout and errors of the volume that wrap volume.ErrUnusable.
func (p *Pipeline) Run(ctx context.Context) (err error) {
	p.started = time.Now()
	for next, done := time.Duration(0), false; !done && err == nil; next, done, err = p.run(ctx) {
		select {
		case <-ctx.Done():
			if p.OneShot {
				return ErrStopped
			}
			return nil
		case <-p.Source.Changed():
		case <-time.After(next):
		}
	}
	return err
}

// run performs a step: it examines the snapshot and the volume and publishes if necessary.
// The next step is due after next, even without a change. After a one-shot run, done is set.
func (p *Pipeline) run(ctx context.Context) (next time.Duration, done bool, err error) {
	p.step.Lock()
	defer p.step.Unlock()
	number, current := p.Publisher.Current()
	snapshot := p.Source.Snapshot()
	p.compareVersions(snapshot)
	previous := maps.Clone(current.Secrets)
	next = p.removeDeleted(snapshot, previous)
	result := layout.Make(p.Rules, layout.Input{Snapshot: snapshot, Previous: previous, Published: number > 0})
	states := p.statesOf(snapshot, result)
	defer p.Observer.Secrets(states)
	p.reportRejected(result.Rejected)
	pause, waiting := p.delay(result), len(result.Waiting) > 0
	if pause <= 0 {
		pause, err = p.publish(ctx, number, current, result.Content)
	}
	if waiting || pause == forever {
		p.states.Store(&states)
	}
	if done = !waiting && pause == forever && p.OneShot && result.Current; done || err != nil {
		return 0, done, err
	}
	left, err := p.timeLeft(result)
	return min(next, pause, left), false, err
}

// delay returns the time for which the result must not be published.
func (p *Pipeline) delay(result layout.Result) time.Duration {
	age := time.Since(p.started)
	switch waiting := strings.Join(result.Waiting, "; "); {
	case waiting != "" && !result.Synced && age < quietStart:
		return quietStart - age
	case waiting != "":
		if waiting != p.problem {
			p.problem = waiting
			p.Logger.Info("nothing is published yet", "waiting", brief.List(result.Waiting))
		}
		return forever
	case !result.Synced && age < restartDelay:
		return restartDelay - age
	}
	return time.Until(p.PublishAfter())
}

// publish publishes the content and reports the result. It returns the pause before a retry, or
// forever after success. Its errors wrap volume.ErrUnusable.
func (p *Pipeline) publish(
	ctx context.Context, before uint64, current, content generation.Content,
) (time.Duration, error) {
	began := time.Now()
	number, err := p.Publisher.Publish(ctx, content)
	took := time.Since(began)
	switch {
	case errors.Is(err, volume.ErrUnusable):
		return 0, err
	case err != nil && ctx.Err() != nil: // stopped, not failed
		return p.backoff.Step(), nil
	case err != nil:
		p.failing = true
		p.Observer.PublishFailed(volume.Reason(err))
		if problem := "the publish fails: " + volume.Reason(err); problem != p.problem {
			p.problem = problem
			p.Logger.Error("publish failed, retrying; the last good files remain", "err", err)
		}
		return p.backoff.Step(), nil
	case p.failing:
		p.Logger.Info("publish works again")
	}
	p.failing, p.problem, p.backoff = false, "", wake.NewBackoff(longestPause)
	if number != before {
		changes := p.Publisher.ChangesSince(before)
		p.Observer.Published(number, changes.Secrets, took)
		p.Logger.Info("published", "generation", number, "secrets", brief.List(changes.Secrets),
			"added", brief.List(changes.Added), "changed", brief.List(changes.Changed),
			"removed", brief.List(changes.Removed), "complete", content.Complete, "duration", took.String())
		p.hintRepeated(changes.Secrets, current.Secrets, content.Secrets)
	}
	return forever, nil
}

// timeLeft returns the time left for the first complete generation, or forever. Its error is
// ErrTimeout with the reasons.
func (p *Pipeline) timeLeft(result layout.Result) (left time.Duration, err error) {
	number, content := p.Publisher.Current()
	left = p.SyncTimeout - time.Since(p.started)
	if p.SyncTimeout <= 0 || number > 0 && content.Complete && !p.OneShot {
		return forever, nil
	} else if left > 0 {
		return left, nil
	}
	reasons := result.Waiting
	for _, r := range result.Rejected {
		reasons = append(reasons, r.String())
	}
	if p.failing {
		reasons = append(reasons, p.problem)
	}
	text := cmp.Or(strings.Join(brief.List(reasons), "; "),
		"a required Secret does not exist, or a watch has no answer")
	return 0, fmt.Errorf("%w: SECRETSYNC_SYNC_TIMEOUT=%s is over: %s", ErrTimeout, p.SyncTimeout, text)
}

// removeDeleted removes from files each Secret that was deleted recreateTime ago. It returns the time until the next
// removal.
func (p *Pipeline) removeDeleted(s watcher.Snapshot, files map[string]generation.Files) (next time.Duration) {
	next = forever
	deleted := map[string]time.Time{}
	for name := range files {
		if _, exists := s.Secrets[name]; exists || !p.RemoveDeleted || s.Unsynced[p.Rules.Watch(name)] {
			continue
		}
		deleted[name] = cmp.Or(p.deleted[name], time.Now())
		if left := time.Until(deleted[name].Add(recreateTime)); left > 0 {
			next = min(next, left)
		} else {
			delete(files, name)
		}
	}
	p.deleted = deleted
	return next
}

// reportRejected reports each rejection once, and the end of each rejection.
func (p *Pipeline) reportRejected(all []layout.Rejection) {
	before := p.rejected
	p.rejected = make(map[string]layout.Rejection, len(all))
	for _, r := range all {
		p.rejected[r.Secret] = r
		if r != before[r.Secret] {
			p.Observer.Rejected(r)
			p.Logger.Warn("rejected a Secret, its last good files remain",
				"secret", r.Secret, "reason", r.Reason, "detail", r.Detail)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, rejected := p.rejected[name]; !rejected {
			p.Logger.Info("a Secret is no longer rejected", "secret", name)
		}
	}
}
