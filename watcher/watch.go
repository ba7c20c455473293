package watcher

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/wake"
)

const (
	// staleAfter is the time without news after which a new list follows. The API
	// server sends a bookmark every minute. After etcd was restored from a backup, a
	// watch can stay open and silent forever.
	staleAfter = 3 * time.Minute
	// deliveryTime is the time within which an open watch must deliver a change after a
	// list found it. The watch cache of an API server lags behind consistent reads.
	deliveryTime = 5 * time.Second
	// pollWatchTime is the duration of a watch while the watch does not deliver events. A
	// list follows each watch. The API server sends a bookmark two seconds before the end
	// of a watch.
	pollWatchTime = 12 * time.Second
	// pollInterval is the longest time between two such lists. It leaves time for a late
	// bookmark.
	pollInterval = 15 * time.Second
	// flushTime is the time for which a watch must stay open after its news. A buffering
	// proxy delivers everything at the end of a watch.
	flushTime = time.Second

	// longestPause is the time within which a watch notices the end of an outage.
	longestPause = 10 * time.Second
	// stableAfter is the duration after which the end of a watch is not early.
	stableAfter = 10 * time.Second
	// earlyInterval is the time between two lists if watches end early.
	earlyInterval = 5 * time.Second
	// maxJitter limits the random delay of a list after a server ended a watch. During a
	// shutdown, a server ends the watches of all Pods simultaneously.
	maxJitter = 2 * time.Second

	// longestListTimeout limits the growth of the time limit of a list. The limit grows
	// after a timeout, because API Priority and Fairness may queue a list.
	longestListTimeout = 2 * time.Minute
)

// firstPause is the first pause after an error.
const firstPause = 500 * time.Millisecond

// newBackoff returns the pauses between attempts.
func newBackoff() wake.Backoff { return wake.Backoff{First: firstPause, Max: longestPause} }

// A watch keeps the Secrets of a filter equal to the API server. It repeats these steps:
//
//  1. A list. The answer is authoritative.
//  2. A stream of events from the version of the list, until the stream ends, delivers no
//     news for staleAfter, or Reread asks for a list.
//  3. A pause, if the stream ended.
//
// A stream without an end stays open during the next list. If the list finds a change, and
// the stream does not deliver it either, the stream does not work.
type watch struct {
	filter
	source    source
	changed   func() // called with shared.mu held, so it must not block
	logger    *slog.Logger
	firstDone func()          // closes first
	first     <-chan struct{} // closed by the first answer or error
	reread    wake.Channel    // asks for a list

	// The goroutine of run owns these fields.
	stream  *stream       // the open stream, or nil
	listed  time.Time     // time of this attempt's list, or zero if it did not succeed
	timeout time.Duration // time limit of a list
	early   int           // number of early ends in a row
	replay  string        // version before a change that was not delivered
	backoff wake.Backoff  // pauses after errors

	streams sync.WaitGroup
	shared  *shared
	secrets map[string]Secret // guarded by shared.mu; by name; nil until the watch is synced
	warned  bool              // guarded by shared.mu; whether warnOnce logged
	health
}

func newWatch(f filter, s source, shared *shared, changed func(), logger *slog.Logger) *watch {
	first := make(chan struct{})
	return &watch{
		filter: f, source: s, changed: changed, logger: logger.With("watch", f.watchName()),
		firstDone: sync.OnceFunc(func() { close(first) }), first: first,
		reread: wake.NewChannel(), timeout: f.listTimeout(), backoff: newBackoff(), shared: shared,
	}
}

// run repeats attempts until ctx is done.
func (w *watch) run(ctx context.Context) {
	defer w.streams.Wait()
	for ctx.Err() == nil {
		err := w.attempt(ctx)
		if w.stream != nil || ctx.Err() != nil {
			continue
		}
		pause := w.pauseAfter(err)
		w.logger.Debug("watch ended", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-w.reread:
		case <-ctx.Done():
		}
	}
}

// attempt performs a list and follows a stream from its version. It returns when the next
// list is due. After the end of the stream or an error, w.stream is nil. The error is nil
// if the server ended the stream.
func (w *watch) attempt(ctx context.Context) error {
	old := w.stream
	w.stream, w.listed = nil, time.Time{}
	if old != nil {
		defer old.cancel()
		w.retire(old)
	}
	version, missed, err := w.list(ctx)
	if err != nil {
		return err
	}
	w.stream = w.open(ctx, version)
	if old != nil && !missed {
		old.cancel()
		old = nil
	}
	return w.follow(ctx, old)
}

// list performs a consistent read. It returns the version of the list, and whether the
// list contains a change without an event.
func (w *watch) list(ctx context.Context) (version string, missed bool, err error) {
	began := time.Now()
	query := w.Query
	query.ListTimeout = w.timeout
	items, version, err := w.source.List(ctx, query)
	took := time.Since(began)
	if errors.Is(err, context.DeadlineExceeded) {
		w.timeout = min(2*w.timeout, longestListTimeout)
	}
	if err != nil {
		return "", false, err
	}
	w.timeout = min(max(w.listTimeout(), 2*took), longestListTimeout)
	w.listed = time.Now()
	return version, w.replace(items), nil
}

// follow waits until a new list is due, and updates the health of the watch. If old is not
// nil, the list found a change, and the stream old must deliver the change too.
func (w *watch) follow(ctx context.Context, old *stream) error {
	stale, lasted, stable := time.NewTimer(w.staleAfter()), time.NewTimer(upAfter), time.NewTimer(stableAfter)
	defer stale.Stop()
	defer lasted.Stop()
	defer stable.Stop()
	var overdue, flushed <-chan time.Time
	if old == nil {
		old = &stream{}
	} else {
		overdue = time.After(deliveryTime)
	}
	opened := w.stream.opened
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.stream.ended:
			w.stream = nil
			return err
		case <-stale.C:
			return nil
		case <-w.reread:
			return nil
		case <-opened:
			opened = nil
			w.setUp(evidenceOpened)
		case <-lasted.C:
			w.setUp(evidenceLasted)
		case <-stable.C:
			w.early, w.backoff = 0, newBackoff()
			w.setUp(evidenceStable)
		case <-w.stream.news:
			stale.Reset(staleAfter)
			if w.silent() && flushed == nil {
				flushed = time.After(flushTime)
			}
		case <-flushed:
			w.setUp(evidenceDelivered)
		case <-old.news:
			overdue = nil
		case <-old.ended:
			overdue = nil
		case <-overdue:
			w.replay = w.lastVersion(old)
			w.setDown(errSilent)
			stale.Reset(w.staleAfter())
		}
	}
}

// staleAfter returns the time without news after which a new list is due.
func (w *watch) staleAfter() time.Duration {
	if w.silent() {
		return pollInterval
	}
	return staleAfter
}

// pauseAfter records the error of an attempt and returns the pause before the next
// attempt. While watches end early, the pause does not grow.
func (w *watch) pauseAfter(err error) time.Duration {
	var failed *kube.Error
	errors.As(err, &failed)
	if w.silent() && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err)) {
		w.replay = "" // the API server no longer has the version
		return w.backoff.Next()
	}
	listed, lasted := !w.listed.IsZero(), time.Since(w.listed)
	switch {
	case listed && lasted >= stableAfter:
		w.early, w.backoff = 0, newBackoff()
		if failed == nil {
			return jitter(lasted)
		}
	case listed && (failed == nil || lasted >= upAfter):
		if w.early++; w.early > 1 { // any server may end a single watch early
			if lasted < upAfter {
				w.setDown(errEndsAtOnce)
			} else {
				w.setDown(errEndsEarly)
			}
			return max(wait.Jitter(earlyInterval, 0.2)-lasted, firstPause/2)
		}
	}
	pause := w.backoff.Next()
	if failed != nil {
		w.setDown(failed)
		if failed.Outdated() {
			w.source.Renew()
		}
		if seconds, ok := apierrors.SuggestsClientDelay(failed); ok {
			pause = max(pause, min(time.Duration(seconds)*time.Second, longestPause))
		}
	}
	return pause
}

// jitter returns the pause after a server ended a watch. The requested duration of a watch
// is random, so no pause follows a watch of this duration.
func jitter(lasted time.Duration) time.Duration {
	if lasted >= kube.MinWatchTime {
		return 0
	}
	return rand.N(maxJitter)
}
