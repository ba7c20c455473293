package telemetry

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/secret-sync/secret-sync/internal/wake"
)

const listenInterval = 2 * time.Second // between attempts to listen

// Serve serves h at an address until ctx ends and then returns nil. If it cannot listen, for
// example because the port is in use, it logs this once and tries again: a second sidecar with
// the same port must not keep the Secrets from the app.
func Serve(ctx context.Context, addr string, h http.Handler, log *slog.Logger) error {
	s := server{addr: addr, handler: h, log: log}
	for ctx.Err() == nil {
		s.try(ctx)
		wake.Sleep(ctx, listenInterval)
	}
	return nil
}

type server struct {
	addr    string
	handler http.Handler
	log     *slog.Logger
	down    bool // logged
}

// try serves until the listener fails or ctx ends.
func (s *server) try(ctx context.Context) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err == nil {
		s.log.Info("http server listens", "addr", listener.Addr().String())
		s.down = false
		err = s.serve(ctx, listener)
	}
	if ctx.Err() == nil && !s.down {
		s.log.Error("http server is down, retrying", "addr", s.addr, "err", err)
		s.down = true
	}
}

// serve returns when the listener fails or ctx ends. It then closes every connection, because
// the process must end within a second.
//
// Anybody who reaches the port can open connections, so their number, the size of a header and
// every duration are limited.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	open := connections{limit: connectionLimit()}
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ConnState:         open.changed,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	return srv.Serve(listener)
}
