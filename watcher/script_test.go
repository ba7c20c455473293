package watcher

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/wake"
)

// A script is a source for tests in virtual time. Lists succeed, and watches stay open
// and silent, unless a function says otherwise.
type script struct {
	lists   []time.Time
	query   kube.Query // of the last watch
	version string     // of the last watch
	onList  func() error
	onWatch func(ctx context.Context, news chan<- event) error
	ends    bool          // whether the server ends each watch
	after   time.Duration // time until the server does so
	slow    func(ctx context.Context) error
	items   func() []object // the answer of a list, if not nil
	listed  func() string   // the version of a list, if not nil
}

// scriptMu guards all scripts. Streams overlap, and a test changes a script while it plays.
var scriptMu sync.Mutex

// set changes a script while it plays.
func (s *script) set(change func()) {
	scriptMu.Lock()
	defer scriptMu.Unlock()
	change()
}

// count returns the number of lists.
func (s *script) count() (n int) {
	s.set(func() { n = len(s.lists) })
	return n
}

func (s *script) List(ctx context.Context, q kube.Query) (items []object, version string, err error) {
	var onList func() error
	var slow func(context.Context) error
	s.set(func() { s.lists, onList, slow = append(s.lists, time.Now()), s.onList, s.slow })
	if slow != nil {
		ctx, cancel := context.WithTimeout(ctx, q.ListTimeout)
		defer cancel()
		if err := slow(ctx); err != nil {
			return nil, "", err
		}
	}
	if s.items != nil {
		s.set(func() { items = s.items() })
	}
	if onList != nil {
		if err := onList(); err != nil {
			return nil, "", err
		}
	}
	version = "7"
	if s.listed != nil {
		s.set(func() { version = s.listed() })
	}
	return items, version, nil
}

// Watch opens a watch that ends with ctx, or when the server ends it.
func (s *script) Watch(ctx context.Context, q kube.Query, version string) (iter.Seq2[event, error], error) {
	news := make(chan event)
	var end <-chan time.Time
	var onWatch func(context.Context, chan<- event) error
	s.set(func() {
		s.query, s.version, onWatch = q, version, s.onWatch
		if s.ends {
			end = time.After(s.after)
		}
	})
	if onWatch != nil {
		if err := onWatch(ctx, news); err != nil {
			return nil, err
		}
	}
	return func(yield func(event, error) bool) {
		for {
			select {
			case e := <-news:
				if !yield(e, nil) {
					return
				}
			case <-end:
				return
			case <-ctx.Done():
				yield(event{}, ctx.Err())
				return
			}
		}
	}, nil
}

func (s *script) Close() {}

// bookmarks sends a bookmark every minute. step is the difference of their versions.
func bookmarks(step int) func(context.Context, chan<- event) error {
	return func(ctx context.Context, news chan<- event) error {
		go func() {
			for version := 7; ; version += step {
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
					return
				}
				select {
				case news <- bookmark(version):
				case <-ctx.Done():
					return
				}
			}
		}()
		return nil
	}
}

func bookmark(version int) event {
	return event{Type: apiwatch.Bookmark, Object: object{metadata: metadata{ResourceVersion: strconv.Itoa(version)}}}
}

// never is a watch that does not open.
func never(ctx context.Context, _ chan<- event) error {
	<-ctx.Done()
	return ctx.Err()
}

// refused returns the error of a refused connection.
func refused() error {
	return &kube.Error{Verb: kube.VerbList, Cause: kube.CauseUnreachable, Err: errors.New("refused")}
}

// statusError returns an error status. retryAfter is in seconds.
func statusError(code, retryAfter int32) error {
	s := metav1.Status{Code: code, Details: &metav1.StatusDetails{RetryAfterSeconds: retryAfter}}
	return &kube.Error{Verb: kube.VerbList, Cause: strconv.Itoa(int(code)), Err: &apierrors.StatusError{ErrStatus: s}}
}

// play runs a watch on a script for some virtual time, and then calls check.
func play(t *testing.T, s source, duration time.Duration, check func(logs *journal, w *watch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		logs := &journal{}
		logger := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		w := newTestWatch(s, logger)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		time.Sleep(duration)
		synctest.Wait()
		check(logs, w)
		began := time.Now()
		cancel()
		<-done
		if got := time.Since(began); got > 0 {
			t.Errorf("run returned after %v, want at once", got)
		}
	})
}

// newTestWatch returns the watch of the Secret db.
func newTestWatch(s source, logger *slog.Logger) *watch {
	query := kube.Query{Resource: kube.Secrets, Namespace: "ns", Name: "db"}
	return newWatch(newTestWatcher(s, logger, "db"), query, labels.Everything())
}

// newTestWatcher returns a Watcher without watches. names have their own watches.
func newTestWatcher(s source, logger *slog.Logger, names ...string) *Watcher {
	return &Watcher{source: s, names: names, logger: logger, changes: wake.NewChannel(), outages: map[string]*outage{}}
}

// newIdleWatch returns a watch that does not run.
func newIdleWatch() *watch { return newTestWatch(&script{}, slog.New(slog.DiscardHandler)) }

// isUp returns Up, as in Status.
func (w *watch) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Up
}
