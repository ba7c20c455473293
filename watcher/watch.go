package watcher

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/wake"
)

const (
	// staleAfter is the time without news after which a list follows. The API server sends a bookmark every minute.
	staleAfter = 3 * time.Minute
	// deliveryTime is the time within which a watch must deliver a change that a list found. The watch cache of an API
	// server lags behind consistent reads.
	deliveryTime = 5 * time.Second
	// pollWatchTime is the duration of each stream of a silent watch. A list follows, after pollInterval at the latest.
	// The API server sends a bookmark two seconds before the end of a stream.
	pollWatchTime, pollInterval = 12 * time.Second, 15 * time.Second
	// flushTime is the time for which the stream of a silent watch must stay open after its news. A buffering proxy
	// delivers everything at the end of a stream.
	flushTime = time.Second

	// upAfter is the time after which an open stream makes its watch up again. Without it, a watch whose streams always
	// end immediately would alternate between up and down.
	upAfter = 2 * time.Second
	// stableAfter is the duration after which the end of a stream is not early.
	stableAfter = 10 * time.Second
	// earlyInterval is the time between two lists if watches end early.
	earlyInterval = 5 * time.Second
	// firstPause and longestPause limit the pauses after errors.
	firstPause, longestPause = 500 * time.Millisecond, 10 * time.Second
	// maxJitter limits the random delay of a list after a server or a broken connection ended a watch. During a
	// shutdown, a server ends the watches of all Pods simultaneously.
	maxJitter = 2 * time.Second

	// listTimeout is the first ListTimeout of a watch.
	listTimeout = 15 * time.Second
)

// errListDue ends an attempt whose stream is open: it delivered no news for some time, or Reread asked for a list.
var errListDue = errors.New("a list is due")

// A watch keeps the Secrets of a name or a label selector equal to the API server. It repeats these steps:
//
//  1. A list. The answer is authoritative.
//  2. A stream of events from the version of the list, until the stream ends, delivers no news for staleAfter, or
//     Reread asks for a list.
//  3. A pause, if the list failed or the stream ended.
//
// A list may find a change that an open stream did not deliver. The change may be younger than the end of the stream,
// so the next stream starts before the change. If this stream does not deliver the change either, the watch is silent.
type watch struct {
	*Watcher // to which the watch belongs
	kube.Query
	labels   labels.Selector // Query.Selector, parsed
	logger   *slog.Logger
	answered wake.Channel // poked by each answer or error of a list
	reread   wake.Channel // asks for a list

	// The goroutine of run owns these fields and the timeouts in Query. It holds mu when it sets err.
	listed    time.Time    // time of this attempt's list, or zero if it did not succeed
	rereadAt  time.Time    // start of the last list that followed Reread
	early     int          // number of early ends in a row
	delivered string       // last version of the previous stream, from which a replay starts, or ""
	backoff   wake.Backoff // pauses after errors
	err       *kube.Error  // last error since the watch was up, or nil

	// mu guards these fields.
	secrets map[string]Secret // by name; nil until the watch is synced
	state   status.Watch      // its Name never changes
	outage  *outage           // nil if the watch did not fail
}

func newWatch(all *Watcher, q kube.Query, selector labels.Selector) *watch {
	name := SelectorWatch
	if q.Name != "" {
		name = WatchName(q.Name)
	}
	q.ListTimeout = listTimeout
	return &watch{
		Watcher: all, Query: q, labels: selector, logger: all.logger.With("watch", name),
		state: status.Watch{Name: name}, answered: wake.NewChannel(), reread: wake.NewChannel(),
		backoff: wake.NewBackoff(longestPause),
	}
}

// run repeats attempts until ctx is done.
func (w *watch) run(ctx context.Context) {
	var err error
	for ctx.Err() == nil {
		err = w.attempt(ctx, err)
		if err == errListDue || ctx.Err() != nil {
			continue
		}
		pause := w.pauseAfter(err)
		end := time.Now().Add(pause)
		w.logger.Debug("watch ended", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-w.reread:
			w.spaceReread(ctx, time.Until(end))
		case <-ctx.Done():
		}
	}
}

// spaceReread waits for the rest of RereadInterval, but not for longer than limit, after which a list is due anyway.
func (w *watch) spaceReread(ctx context.Context, limit time.Duration) {
	wake.Sleep(ctx, min(limit, time.Until(w.rereadAt.Add(RereadInterval))))
	w.rereadAt = time.Now()
}

// attempt performs a list and follows a stream until a new list is due. previous is the result of the attempt before.
// The result is nil if the server ended the stream.
func (w *watch) attempt(ctx context.Context, previous error) error {
	version, missed, err := w.list(ctx)
	if err != nil {
		return err
	}
	start := version
	if (w.err == errSilent || missed && previous == errListDue) && older(w.delivered, version) {
		start = w.delivered
	}
	s := w.open(ctx, start, version)
	err = w.follow(ctx, s, start != version)
	s.close()
	w.delivered = s.version
	if time.Since(w.listed) >= stableAfter {
		w.early = 0
		w.backoff = wake.NewBackoff(longestPause)
	}
	return err
}

// list performs a consistent read. It returns the version of the list, and whether the list contains a change without
// an event.
func (w *watch) list(ctx context.Context) (version string, missed bool, err error) {
	began := time.Now()
	w.listed = time.Time{}
	items, version, err := w.source.List(ctx, w.Query)
	w.answered.Poke()
	w.AllowLonger(err)
	if err != nil {
		return "", false, err
	}
	w.listed = time.Now()
	w.ListTimeout = min(max(listTimeout, 2*w.listed.Sub(began)), kube.LongestListTimeout)
	return version, w.replace(items), nil
}

// follow waits until a new list is due, and updates the health of the watch. If replay is set, the stream started
// before a change, and must deliver it within deliveryTime.
func (w *watch) follow(ctx context.Context, s *stream, replay bool) error {
	limit, working := staleAfter, time.After(upAfter)
	if replay {
		limit = deliveryTime
	}
	switch w.err {
	case errEndsEarly:
		working = time.After(stableAfter)
	case errSilent: // needs news
		limit, working = pollInterval, nil
	}
	stale := time.NewTimer(limit)
	defer stale.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.ended:
			return err
		case <-w.reread:
			w.spaceReread(ctx, RereadInterval) // the stream applies events meanwhile
			return errListDue
		case <-stale.C:
			if replay {
				w.setDown(errSilent)
			}
			return errListDue
		case <-working:
			w.setUp()
		case <-s.news:
			limit, replay = staleAfter, false
			stale.Reset(limit)
			if w.err == errSilent && working == nil {
				working = time.After(flushTime)
			}
		}
	}
}

// pauseAfter records the end of an attempt and returns the pause before the next attempt. err is nil if the server
// ended the stream. While watches end early, the pause does not grow.
func (w *watch) pauseAfter(err error) time.Duration {
	failed, _ := errors.AsType[*kube.Error](err)
	lasted := time.Since(w.listed) // very long if the list failed
	switch {
	case w.err == errSilent && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err)):
		w.delivered = "" // the API server no longer has the version
		return w.backoff.Step()
	case failed == nil && w.err != errSilent && lasted >= w.WatchTimeout: // each watch requests a random time
		return 0
	case failed == nil && lasted >= stableAfter:
		return rand.N(maxJitter)
	case lasted < stableAfter && (failed == nil || lasted >= upAfter) && err != errBackwards:
		if w.early++; w.early > 1 { // any server may end a single watch early
			if lasted < upAfter {
				w.setDown(errEndsAtOnce)
			} else {
				w.setDown(errEndsEarly)
			}
			return max(earlyInterval-lasted+rand.N(earlyInterval/5), firstPause/2)
		}
	}
	pause := w.backoff.Step()
	if failed != nil {
		w.setDown(failed)
	}
	if !w.listed.IsZero() && lasted >= stableAfter { // a broken connection
		pause = rand.N(maxJitter)
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		pause = max(pause, min(time.Duration(seconds)*time.Second, longestPause))
	}
	return pause
}
