package watcher

import (
	"context"
	"iter"

	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/wake"
)

// A source lists and watches Secrets. Tests replace it.
type source interface {
	List(ctx context.Context, q kube.Query) (items []object, resourceVersion string, err error)
	Watch(ctx context.Context, q kube.Query, resourceVersion string) (iter.Seq2[event, error], error)
	Close() // breaks every connection
}

type event = kube.Event[object]

// client is the source for a real API server.
type client struct{ *kube.Client }

func (c client) List(ctx context.Context, q kube.Query) (items []object, resourceVersion string, err error) {
	resourceVersion, err = kube.List(ctx, c.Client, q, func(o object) { items = append(items, o) })
	return items, resourceVersion, err
}

func (c client) Watch(ctx context.Context, q kube.Query, resourceVersion string) (iter.Seq2[event, error], error) {
	return kube.Watch[object](ctx, c.Client, q, resourceVersion)
}

// A stream is a watch request.
type stream struct {
	cancel  context.CancelFunc
	news    wake.Channel // poked by each event and by each bookmark with a new version
	ended   chan error   // the end of the stream; nil if the server ended it; then closed
	version string       // of the last event, at first the start; constant after close
}

// open starts a stream from version start. It does not wait for the server: some proxies delay the headers of a watch
// until its first event.
func (w *watch) open(ctx context.Context, start, listed string) *stream {
	w.WatchTimeout = kube.RandomWatchTime()
	if w.err == errSilent {
		w.WatchTimeout = pollWatchTime
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{cancel: cancel, news: wake.NewChannel(), ended: make(chan error, 1), version: start}
	go func() {
		defer close(s.ended)
		s.ended <- w.receive(ctx, s, listed)
	}()
	return s
}

// close ends the stream. The stream applies no event afterwards.
func (s *stream) close() {
	s.cancel()
	for range s.ended {
	}
}

// receive applies the events of a stream until it ends or delivers an older version. A bookmark with the same version
// is not news: a server without its etcd may repeat it.
func (w *watch) receive(ctx context.Context, s *stream, listed string) error {
	events, err := w.source.Watch(ctx, w.Query, s.version)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.state.Up = w.err == nil
	w.mu.Unlock()
	w.logger.Debug("watch connected")
	for e, err := range events {
		if err != nil {
			return err
		}
		version := e.Object.ResourceVersion
		if older(version, s.version) {
			return errBackwards
		}
		w.apply(e, listed)
		if e.Type != apiwatch.Bookmark || version != s.version {
			s.news.Poke()
		}
		s.version = version
	}
	return nil
}
