package watcher

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
)

const (
	// staleAfter is the time without news after which a new list follows. The API
	// server sends a bookmark every minute. After etcd was restored from a backup, a
	// watch can stay open and silent forever.
	staleAfter = 3 * time.Minute
	// longestPause is the time within which a watch notices that the API server is back.
	longestPause = 10 * time.Second
	// stableAfter is the duration of a watch after which the next list follows at once.
	// It keeps the rate of lists below the rate during an outage.
	stableAfter = longestPause
)

// newBackoff returns the pauses between attempts: 0.25 to 0.5 s, doubled each time, up to
// 5 to 10 s. They are random, so the watches of many Pods do not retry simultaneously.
func newBackoff() wait.Backoff {
	return wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 10, Cap: longestPause / 2}
}

// errEndsAtOnce is returned after two short watches in a row. Any server may end a single
// watch early.
var errEndsAtOnce = watchError("ends at once", "the watch repeatedly ends right after it opened",
	"check for a proxy between this Pod and the API server that has a short timeout or cannot stream")

// errBackwards is returned when a watch delivers an object older than an object that it
// delivered before. Only a quorum read can tell which version is current.
var errBackwards = watchError("backwards", "the watch delivered an older version after a newer version",
	"if this repeats, check for a proxy between this Pod and the API server that mixes up answers")

func watchError(cause, text, hint string) *kube.Error {
	resource := kube.Secrets.Resource
	return &kube.Error{Verb: kube.VerbWatch, Resource: resource, Cause: cause, Err: errors.New(text), Hint: hint}
}

// A source lists and watches Secrets. Tests replace it.
type source interface {
	List(ctx context.Context, q kube.Query) (items []object, resourceVersion string, err error)
	Watch(ctx context.Context, q kube.Query, resourceVersion string) (events, error)
	Renew()
}

type (
	event  = kube.Event[object]
	events = iter.Seq2[event, error]
)

// client is the source for a real API server.
type client struct{ *kube.Client }

func (c client) List(ctx context.Context, q kube.Query) ([]object, string, error) {
	return kube.List[object](ctx, c.Client, q)
}

func (c client) Watch(ctx context.Context, q kube.Query, resourceVersion string) (events, error) {
	return kube.Watch[object](ctx, c.Client, q, resourceVersion)
}

// A watch keeps the Secrets of a filter equal to the API server. It repeats these steps:
// a list, a watch from the version of the list, and a pause.
type watch struct {
	filter
	source    source
	changed   func() // called with mu held, so it must not block
	logger    *slog.Logger
	firstDone func()          // closes first
	first     <-chan struct{} // closed by the first answer or error

	listed  time.Time // time of this attempt's list, or zero if it did not succeed
	backoff wait.Backoff

	mu      *sync.Mutex        // shared by all watches; guards the fields below
	restart context.CancelFunc // ends the current attempt and its pause
	secrets map[string]Secret  // by name; nil until the watch is synced
	warned  bool               // whether warnOnce has logged
	health
}

func newWatch(f filter, s source, mu *sync.Mutex, changed func(), logger *slog.Logger) *watch {
	first := make(chan struct{})
	return &watch{
		filter: f, source: s, changed: changed, logger: logger.With("watch", f.watchName()),
		firstDone: sync.OnceFunc(func() { close(first) }), first: first,
		backoff: newBackoff(), mu: mu, restart: func() {},
	}
}

// run repeats attempts until ctx is done.
func (w *watch) run(ctx context.Context) {
	for ctx.Err() == nil {
		attempt, end := context.WithCancel(ctx)
		w.mu.Lock()
		w.restart = end
		w.mu.Unlock()
		err := w.follow(attempt)
		if attempt.Err() == nil {
			pause := w.pauseAfter(err)
			w.logger.Debug("watch ended", "err", err, "pause", pause)
			sleep(attempt, pause)
		}
		end()
	}
}

// sleep waits for the given duration, or until ctx is done.
func sleep(ctx context.Context, pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	<-ctx.Done()
}

// follow performs a list and follows the watch from its version. It returns when the
// watch ends or delivers no news for staleAfter. It returns nil if nothing failed.
func (w *watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.listed = time.Time{}
	items, version, err := w.source.List(ctx, w.Query)
	if err != nil {
		return err
	}
	w.listed = time.Now()
	w.replace(items)
	defer time.AfterFunc(upAfter, func() { w.setUp(ctx, true) }).Stop()
	stale := time.AfterFunc(staleAfter, cancel)
	defer stale.Stop()
	news, err := w.source.Watch(ctx, w.Query, version)
	if err == nil {
		w.setUp(ctx, false)
		err = w.receive(news, version, stale)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// receive applies the events of a watch until it ends or delivers an older version. A
// bookmark with the same version is not news: a server without its etcd may repeat it.
func (w *watch) receive(news events, version string, stale *time.Timer) error {
	for e, err := range news {
		if err != nil {
			return err
		}
		order, err := resourceversion.CompareResourceVersion(e.Object.ResourceVersion, version)
		if err == nil && order < 0 {
			return errBackwards
		}
		w.apply(e)
		if e.Type != apiwatch.Bookmark || e.Object.ResourceVersion != version {
			stale.Reset(staleAfter)
		}
		version = e.Object.ResourceVersion
	}
	return nil
}

// pauseAfter records the error of an attempt and returns the pause before the next
// attempt. If the watch was stable, the next list follows at once: servers end a watch
// after some minutes, and a stale watch is not an error.
func (w *watch) pauseAfter(err error) time.Duration {
	if !w.listed.IsZero() && time.Since(w.listed) >= stableAfter {
		w.backoff = newBackoff()
		if err == nil {
			return 0
		}
	}
	if again := w.backoff != newBackoff(); again && err == nil && time.Since(w.listed) < upAfter {
		err = errEndsAtOnce
	}
	pause := w.backoff.Step()
	if e := (*kube.Error)(nil); errors.As(err, &e) {
		w.setDown(e)
		if e.Outdated() {
			w.source.Renew()
		}
		if seconds, ok := apierrors.SuggestsClientDelay(e); ok {
			pause = max(pause, min(time.Duration(seconds)*time.Second, longestPause))
		}
	}
	return pause
}
