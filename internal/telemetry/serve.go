package telemetry

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Serve answers at an address until the context ends, and returns nil then. An
// address that cannot be had, such as a taken port, is logged once and tried
// again: a second sidecar with the same port must not keep the Secrets from the
// app.
func Serve(ctx context.Context, addr string, h http.Handler, log *slog.Logger) error {
	s := server{addr: addr, handler: h, log: log, retry: 2 * time.Second, listen: new(net.ListenConfig).Listen}
	return s.run(ctx)
}

type server struct {
	addr    string
	handler http.Handler
	log     *slog.Logger
	retry   time.Duration
	listen  func(ctx context.Context, network, address string) (net.Listener, error)
}

func (s *server) run(ctx context.Context) error {
	logged := false
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		listener, err := s.listen(ctx, "tcp", s.addr)
		if err == nil {
			s.log.Info("http server listens", "addr", listener.Addr().String())
			logged = false
			err = s.serve(ctx, listener)
		}
		if ctx.Err() == nil && !logged {
			s.log.Error("http server is not up, trying again", "addr", s.addr, "err", err)
			logged = true
		}
	}, s.retry)
	return nil
}

// serve returns when the listener fails or the context ends. That closes every
// connection: the whole program has a second to end.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	srv := &http.Server{
		Handler:        s.handler,
		ReadTimeout:    10 * time.Second,
		WriteTimeout:   65 * time.Second, // a CPU profile of pprof takes 30 s, up to a minute if asked
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	return srv.Serve(listener)
}
