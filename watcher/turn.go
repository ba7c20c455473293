package watcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// staleAfter is for how long a watch is believed that says nothing new. The API
// server sends a bookmark each minute. After etcd was restored from a backup a
// watch can stay open, and silent, for ever.
const staleAfter = 3 * time.Minute

// errTurn is what the Reflector gets for every error: nothing that it would
// retry, sleep on or log by itself. The fault is in the turn.
var errTurn = errors.New("turn ended")

// turn is one list and the one watch that follows it, as the Reflector asks for
// them. It is the Reflector's ListerWatcher.
//
//  1. The list is a consistent read, whatever version the Reflector asks for.
//  2. The watch begins at that list's version.
//  3. When it ends, for any reason, the second watch that the Reflector wants
//     to begin at the old version is refused, so that it returns.
type turn struct {
	query  query
	source source
	store  cache.ReflectorStore
	health *health
	cancel context.CancelFunc

	running sync.WaitGroup // requests and forwarders

	mu       sync.Mutex
	over     bool
	watched  bool        // step 2 was reached
	answered time.Time   // when the list was
	version  string      // the last one heard of
	stale    *time.Timer // cancels the turn when nothing new is heard
	err      error       // the first fault
}

// run goes through one turn, and returns when nothing of it runs any more.
func (t *turn) run(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	r := cache.NewReflectorWithOptions(t, &apiSecret{}, t.store, cache.ReflectorOptions{Name: t.query.watch()})
	_ = r.ListAndWatchWithContext(ctx)
	t.cancel()
	t.mu.Lock()
	t.over = true
	if t.stale != nil {
		t.stale.Stop()
	}
	t.mu.Unlock()
	t.running.Wait()
}

// begin registers something that runs, unless the turn is over: the Reflector
// lists in a goroutine that it does not wait for.
func (t *turn) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.running.Add(1)
	return true
}

// fail keeps the first fault.
func (t *turn) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

// heard notes a sign of life. Only an event or a new version proves that it is
// a fresh one: a server that lost its etcd may repeat the same bookmark.
func (t *turn) heard(version string, event bool) {
	t.health.contact(time.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	if (event || version != t.version) && t.stale != nil {
		t.stale.Reset(staleAfter)
	}
	t.version = version
}

// IsWatchListSemanticsUnSupported keeps the Reflector from streaming its first
// list: there it waits for up to a minute without looking at its context, and
// for ever behind servers and proxies that ignore the request for it.
func (t *turn) IsWatchListSemanticsUnSupported() bool { return true }

// List is for the interface only.
func (t *turn) List(o metav1.ListOptions) (runtime.Object, error) {
	return t.ListWithContext(context.Background(), o)
}

// ListWithContext is step 1.
func (t *turn) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	if !t.begin() {
		return nil, errTurn
	}
	defer t.running.Done()
	// No version: a read through the quorum. The Reflector would ask for "0",
	// which any server may answer from a cache of any age. No limit: pages are
	// of no use here, and the second one could expire.
	list, err := t.source.list(ctx, t.query, metav1.ListOptions{Continue: o.Continue})
	if err != nil {
		t.fail(err)
		return nil, errTurn
	}
	for i := range list.Items {
		strip(&list.Items[i])
	}
	t.mu.Lock()
	t.answered = time.Now()
	if !t.over {
		t.stale = time.AfterFunc(staleAfter, t.cancel)
	}
	t.mu.Unlock()
	t.heard(list.ResourceVersion, true)
	t.health.answered()
	return list, nil
}

// Watch is for the interface only.
func (t *turn) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return t.WatchWithContext(context.Background(), o)
}

// WatchWithContext is step 2, and step 3 when it is called again.
func (t *turn) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if t.watched || !t.begin() {
		return nil, errTurn
	}
	t.watched = true
	events, ended, err := t.source.open(ctx, t.query, o)
	if err != nil {
		t.running.Done()
		if ctx.Err() == nil { // else it was we who gave up
			t.fail(err)
		}
		return nil, errTurn
	}
	t.health.opened()
	s := &stream{Interface: events, out: make(chan watch.Event), stopped: make(chan struct{})}
	go func() {
		defer t.running.Done()
		t.forward(ctx, s, ended)
		if err := ended(); err != nil && ctx.Err() == nil {
			t.fail(err)
		}
		close(s.out)
	}()
	return s, nil
}

// stream is a watch that is looked into on its way to the Reflector.
type stream struct {
	watch.Interface
	out     chan watch.Event
	once    sync.Once
	stopped chan struct{}
}

func (s *stream) ResultChan() <-chan watch.Event { return s.out }

func (s *stream) Stop() {
	s.once.Do(func() { close(s.stopped) })
	s.Interface.Stop()
}

// forward passes the events on until they end. It empties the watch below to
// its end, so that nothing of that stays. Of a connection that died client-go
// says that an event could not be read: what broke it is told instead.
func (t *turn) forward(ctx context.Context, s *stream, ended func() error) {
	for event := range s.Interface.ResultChan() {
		if err := t.look(event); err != nil {
			if f, ok := err.(*fault); ok && f.kind == kindGarbage {
				err = cmp.Or(ended(), err)
			}
			if ctx.Err() == nil { // else it was we who gave up
				t.fail(err)
			}
			s.Stop()
			continue
		}
		select {
		case s.out <- event:
		case <-s.stopped:
		}
	}
}

// look notes what an event tells about the watch, and gives the fault that it
// is, if it is one.
func (t *turn) look(event watch.Event) error {
	if event.Type == watch.Error {
		var status apierrors.APIStatus
		if err := apierrors.FromObject(event.Object); errors.As(err, &status) {
			return statusFault(verbWatch, status.Status(), 0)
		}
	}
	item, ok := event.Object.(*apiSecret)
	if !ok || event.Type == watch.Error {
		return &fault{kind: kindGarbage, verb: verbWatch, text: fmt.Sprintf("an event %.20q has a %T in it", event.Type, event.Object),
			do: "see what is between this Pod and the API server"}
	}
	strip(item)
	t.heard(item.ResourceVersion, event.Type != watch.Bookmark)
	return nil
}
