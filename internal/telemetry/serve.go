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
	s := server{addr: addr, handler: h, log: log}
	wait.UntilWithContext(ctx, s.try, 2*time.Second)
	return nil
}

type server struct {
	addr    string
	handler http.Handler
	log     *slog.Logger
	down    bool // which is logged
}

// try serves, until the listener fails or the context ends.
func (s *server) try(ctx context.Context) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err == nil {
		s.log.Info("http server listens", "addr", listener.Addr().String())
		s.down = false
		err = s.serve(ctx, listener)
	}
	if ctx.Err() == nil && !s.down {
		s.log.Error("http server is not up, trying again", "addr", s.addr, "err", err)
		s.down = true
	}
}

// serve returns when the listener fails or the context ends. That closes every
// connection: the whole program has a second to end.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	srv := &http.Server{
		Handler:        s.handler,
		ReadTimeout:    10 * time.Second,
		WriteTimeout:   10 * time.Second,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	return srv.Serve(listener)
}
