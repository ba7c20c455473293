package watcher

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

const (
	// staleAfter is how long a watch is trusted that reports nothing new. The API
	// server sends a bookmark each minute. After etcd was restored from a backup
	// a watch can stay open, and report nothing, for ever.
	staleAfter = 3 * time.Minute
	// longestPause is within what time an API server that is back is noticed.
	longestPause = 10 * time.Second
	// calmAfter is how long a watch has to last before a new list follows at
	// once. So there are never more lists, in the long run, than there are while
	// the API server is away.
	calmAfter = longestPause
)

// newBackoff gives the pauses between attempts: 0.25 to 0.5 s, doubled each time,
// up to 5 to 10 s. They are random so that the watches of many Pods do not come
// back at the same moment.
func newBackoff() wait.Backoff {
	return wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 10, Cap: longestPause / 2}
}

// errEndsAtOnce is what one attempt cannot tell, only two of them.
var errEndsAtOnce = &kubeapi.Error{
	Kind: "ends at once", Verb: kubeapi.VerbWatch,
	Text:   "the watch is opened and ends at once, again and again",
	Advice: "look at what is between this Pod and the API server: a proxy with a very short timeout, or one that cannot stream",
}

// errBackwards is what to make of a watch that gives an older version after a newer
// one. Which of them is the present one only a consistent read tells.
var errBackwards = &kubeapi.Error{
	Kind: "backwards", Verb: kubeapi.VerbWatch,
	Text:   "the watch gave an older version after a newer one",
	Advice: "nothing: it is read anew; if it happens again, look at what is between this Pod and the API server",
}

// source is an API server: a kubeapi.Client, or a test's. Its errors are
// *kubeapi.Error.
type source interface {
	List(ctx context.Context, q kubeapi.Query) (*kubeapi.SecretList, error)
	Watch(ctx context.Context, q kubeapi.Query, resourceVersion string) (stream, error)
	Renew()
}

// stream is an open watch.
type stream interface {
	Next() (kubeapi.Event, error) // io.EOF: the server ended the watch
	Close()
}

// client is the source that is not a test's.
type client struct{ *kubeapi.Client }

func (c client) Watch(ctx context.Context, q kubeapi.Query, resourceVersion string) (stream, error) {
	s, err := c.Client.Watch(ctx, q, resourceVersion)
	if err != nil {
		return nil, err // not s, which would be a stream that is not nil
	}
	return s, nil
}

// watch keeps one query's part of the state equal to what the API server has:
// a list, the watch that begins there, and anew when that ends.
type watch struct {
	query  query
	source source
	state  *state
	health *health
	logger *slog.Logger
	spread time.Duration // over what time new lists are spread when a server ends all watches
	asked  chan struct{} // closed when the first list was answered, or failed

	listed   time.Time // when the last list was answered; zero: this attempt's was not
	failures int       // attempts in a row that failed or were short
	backoff  wait.Backoff

	mu      sync.Mutex
	restart context.CancelFunc // ends the present attempt and the pause after it
}

func newWatch(q query, s source, all *state, logger *slog.Logger) *watch {
	w := &watch{query: q, source: s, state: all, logger: logger, asked: make(chan struct{}), backoff: newBackoff()}
	w.health = newHealth(q, logger, sync.OnceFunc(func() { close(w.asked) }))
	return w
}

// run goes on until ctx is done.
func (w *watch) run(ctx context.Context) {
	defer w.health.stop()
	for ctx.Err() == nil {
		attempt, end := context.WithCancel(ctx)
		w.setRestart(end)
		err := w.follow(attempt)
		if attempt.Err() == nil {
			pause := w.pauseAfter(err)
			w.logger.Debug("watch ended", "err", err, "next", pause)
			sleep(attempt, pause)
		}
		end()
	}
}

func (w *watch) setRestart(end context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restart = end
}

// reread ends what is under way, so that a new list begins at once.
func (w *watch) reread() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.restart != nil {
		w.restart()
	}
}

// sleep waits, until ctx is done at most.
func sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// follow makes one list and follows the watch that begins at its version, until
// that ends or nothing new comes for staleAfter. Nil: nothing was wrong.
//
// It does what a client-go Reflector does, which would be made anew for each
// list here, as by itself it watches again from an old version, reads its first
// list from a cache, and waits without a look at its context: 0.3 MB of the
// binary, and three goroutines and two channels more for each watch.
func (w *watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.listed = time.Time{}
	list, err := w.source.List(ctx, w.query.Query)
	if err != nil {
		return unlessDone(ctx, err)
	}
	w.listed = time.Now()
	w.state.replace(w.query, list.Items)
	w.health.answered()
	stale := time.AfterFunc(staleAfter, cancel)
	defer stale.Stop()
	events, err := w.source.Watch(ctx, w.query.Query, list.ResourceVersion)
	if err != nil {
		return unlessDone(ctx, err)
	}
	defer events.Close()
	w.health.opened()
	return unlessDone(ctx, w.receive(events, list.ResourceVersion, stale))
}

// unlessDone drops the error of what ended because ctx did, and the end of a
// watch that the server ended.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// receive applies the events of a watch until it ends, or until one is older than
// what came before it. Only a change or a new version puts stale off: a server that
// lost its etcd may repeat one bookmark.
func (w *watch) receive(events stream, version string, stale *time.Timer) error {
	for {
		event, err := events.Next()
		if err != nil {
			return err
		}
		if order, err := resourceversion.CompareResourceVersion(event.Secret.ResourceVersion, version); err == nil && order < 0 {
			return errBackwards
		}
		w.state.apply(w.query, event)
		w.health.contact(time.Now())
		if event.Type != apiwatch.Bookmark || event.Secret.ResourceVersion != version {
			stale.Reset(staleAfter)
		}
		version = event.Secret.ResourceVersion
	}
}

// pauseAfter reports how long to wait after an attempt, and reports its error. A
// watch that ended after minutes, as servers end them, or that had nothing new
// to report, is not an error: a new list follows at once.
func (w *watch) pauseAfter(err error) time.Duration {
	calm := !w.listed.IsZero() && time.Since(w.listed) >= calmAfter
	if calm {
		w.failures, w.backoff = 0, newBackoff()
	}
	if err == nil && calm {
		return time.Duration(rand.Int64N(int64(w.spread) + 1))
	}
	if err == nil && w.failures > 0 && time.Since(w.listed) < upAfter {
		err = errEndsAtOnce
	}
	w.failures++
	pause := w.backoff.Step()
	if e := (*kubeapi.Error)(nil); errors.As(err, &e) {
		w.health.down(e)
		if e.Outdated() {
			w.source.Renew()
		}
		pause = max(pause, min(e.RetryAfter, longestPause))
	}
	return pause
}
