package watcher

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
)

const (
	// staleAfter is how long a watch is trusted that reports nothing new. The API
	// server sends a bookmark each minute. After etcd was restored from a backup
	// a watch can stay open, and report nothing, for ever.
	staleAfter = 3 * time.Minute
	// longestPause is within what time an API server that is back is noticed.
	longestPause = 10 * time.Second
	// stableAfter is how long a watch has to last before a new list follows at
	// once. So there are never more lists, in the long run, than there are while
	// the API server is away.
	stableAfter = longestPause
)

// newBackoff gives the pauses between attempts: 0.25 to 0.5 s, doubled each time,
// up to 5 to 10 s. They are random so that the watches of many Pods do not come
// back at the same moment.
func newBackoff() wait.Backoff {
	return wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 10, Cap: longestPause / 2}
}

// errEndsAtOnce needs two attempts in a row: any server may end one watch early.
var errEndsAtOnce = &kube.Error{
	Kind: "ends at once", Verb: kube.VerbWatch, Resource: "secrets",
	Text:   "the watch is opened and ends at once, again and again",
	Advice: "look at what is between this Pod and the API server: a proxy with a very short timeout, or one that cannot stream",
}

// errBackwards is what to make of a watch that gives an older version after a newer
// one. Which of them is the present one only a consistent read tells.
var errBackwards = &kube.Error{
	Kind: "backwards", Verb: kube.VerbWatch, Resource: "secrets",
	Text:   "the watch gave an older version after a newer one",
	Advice: "nothing: it is read anew; if it happens again, look at what is between this Pod and the API server",
}

// source is an API server, or a test's.
type source interface {
	List(ctx context.Context, q kube.Query) (items []object, resourceVersion string, err error)
	Watch(ctx context.Context, q kube.Query, resourceVersion string) (events, error)
	Renew()
}

type (
	event  = kube.Event[object]
	events = iter.Seq2[event, error]
)

// client is the source that is not a test's.
type client struct{ *kube.Client }

func (c client) List(ctx context.Context, q kube.Query) ([]object, string, error) {
	return kube.List[object](ctx, c.Client, q)
}

func (c client) Watch(ctx context.Context, q kube.Query, resourceVersion string) (events, error) {
	return kube.Watch[object](ctx, c.Client, q, resourceVersion)
}

// watch keeps what is known of one query's Secrets equal to what the API server
// has: a list, the watch that begins there, and the same again when that ends.
type watch struct {
	filter
	source  source
	changed func() // called with mu held, so that it must not block
	logger  *slog.Logger
	asked   func()          // called at the first answer or error, and later
	first   <-chan struct{} // closed by asked

	listed  time.Time // when the last list was answered; zero: this attempt's was not
	backoff wait.Backoff

	mu      *sync.Mutex        // that of all watches; guards what follows
	restart context.CancelFunc // ends the present attempt and the pause after it
	secrets map[string]Secret  // by name; nil: not answered yet
	warned  bool               // of an object that was not asked for
	health
}

func newWatch(f filter, s source, mu *sync.Mutex, changed func(), logger *slog.Logger) *watch {
	first := make(chan struct{})
	return &watch{
		filter: f, source: s, changed: changed, logger: logger.With("watch", f.watch()),
		asked: sync.OnceFunc(func() { close(first) }), first: first,
		backoff: newBackoff(), mu: mu, restart: func() {},
	}
}

// run goes on until ctx is done.
func (w *watch) run(ctx context.Context) {
	for ctx.Err() == nil {
		attempt, end := context.WithCancel(ctx)
		w.mu.Lock()
		w.restart = end
		w.mu.Unlock()
		err := w.follow(attempt)
		if attempt.Err() == nil {
			pause := w.pauseAfter(err)
			w.logger.Debug("watch ended", "err", err, "next", pause)
			sleep(attempt, pause)
		}
		end()
	}
}

// sleep waits, until ctx is done at most.
func sleep(ctx context.Context, pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	<-ctx.Done()
}

// follow makes one list and follows the watch that begins at its version, until
// that ends or nothing new comes for staleAfter. Nil: nothing was wrong.
//
// A client-go Reflector would have to be made again for each list, as by itself it
// watches again from an old version, reads its first list from a cache, and sleeps
// without a look at its context. Measured, it cost 180 lines, 0.3 MB of the binary,
// three goroutines a watch, and 2.5 MB of memory for a hundred watches.
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

// receive applies the events of a watch until it ends, or until one is older than
// what came before it. Only a change or a new version puts stale off: a server that
// lost its etcd may repeat one bookmark.
func (w *watch) receive(news events, version string, stale *time.Timer) error {
	for e, err := range news {
		if err != nil {
			return err
		}
		if order, err := resourceversion.CompareResourceVersion(e.Object.ResourceVersion, version); err == nil && order < 0 {
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

// pauseAfter reports how long to wait after an attempt, and notes its error. A
// watch that ended after minutes, as servers end them, or that had nothing new
// to report, is not an error: a new list follows at once.
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
		w.failed(e)
		if e.Outdated() {
			w.source.Renew()
		}
		pause = max(pause, min(e.RetryAfter, longestPause))
	}
	return pause
}
