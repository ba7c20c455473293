package watcher

import (
	"cmp"
	"context"
	"iter"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/wake"
)

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

// A stream is a watch request. It applies events until it is retired.
type stream struct {
	cancel context.CancelFunc
	opened chan struct{} // closed when the server opened the watch
	news   wake.Channel  // poked by each event and by each bookmark with a new version
	ended  chan error    // the end of the stream; nil if the server ended it

	listed  string // version of the list before the stream; older events are not applied
	version string // guarded by shared.mu; version of the last event, at first the start
	retired bool   // guarded by shared.mu
}

// open starts a stream from version. It does not wait for the server: some proxies delay
// the headers of a watch until its first event.
//
// While the watch is silent, the stream starts before the undelivered change. If the watch
// works again, the server delivers the change at once.
func (w *watch) open(ctx context.Context, version string) *stream {
	query, start := w.Query, version
	if w.silent() {
		query.WatchTimeout = pollWatchTime
		start = cmp.Or(w.replay, version)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{cancel: cancel, opened: make(chan struct{}), news: wake.NewChannel(), ended: make(chan error, 1)}
	s.listed, s.version = version, start
	w.streams.Go(func() {
		defer cancel()
		s.ended <- w.receive(ctx, s, query, start)
	})
	return s
}

// receive applies the events of a stream until it ends or delivers an older version. A
// bookmark with the same version is not news: a server without its etcd may repeat it.
func (w *watch) receive(ctx context.Context, s *stream, query kube.Query, version string) error {
	events, err := w.source.Watch(ctx, query, version)
	if err != nil {
		return err
	}
	close(s.opened)
	for e, err := range events {
		if err != nil {
			return err
		}
		order, err := resourceversion.CompareResourceVersion(e.Object.ResourceVersion, version)
		if err == nil && order < 0 {
			return errBackwards
		}
		w.apply(s, e)
		if e.Type != apiwatch.Bookmark || e.Object.ResourceVersion != version {
			s.news.Poke()
		}
		version = e.Object.ResourceVersion
	}
	return nil
}

// lastVersion returns the version of the last event of a stream.
func (w *watch) lastVersion(s *stream) string {
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	return s.version
}

// retire stops the stream from applying events: the answer of a later list may already
// contain them. The stream stays open and shows whether it delivers news.
func (w *watch) retire(s *stream) {
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	s.retired = true
	select {
	case <-s.news:
	default:
	}
}
