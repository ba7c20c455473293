package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// shutdownGrace is what a request under way may still take after the end: the
// whole program has a second.
const shutdownGrace = 500 * time.Millisecond

// Serve answers at an address until the context ends, and returns nil then. An
// address that cannot be had, such as a taken port, is logged once and tried
// again: a second sidecar with the same port must not keep the Secrets from the
// app.
func Serve(ctx context.Context, addr string, h http.Handler, log *slog.Logger) error {
	s := server{addr: addr, handler: h, log: log, retry: time.Second, retryMax: 10 * time.Second,
		listen: new(net.ListenConfig).Listen}
	return s.run(ctx)
}

type server struct {
	addr            string
	handler         http.Handler
	log             *slog.Logger
	retry, retryMax time.Duration
	listen          func(ctx context.Context, network, address string) (net.Listener, error)
}

func (s *server) run(ctx context.Context) error {
	logged := false
	delay := s.retry
	for ctx.Err() == nil {
		listener, err := s.listen(ctx, "tcp", s.addr)
		if err == nil {
			s.log.Info("http server listens", "addr", listener.Addr().String())
			logged, delay = false, s.retry
			err = s.serve(ctx, listener)
		}
		if ctx.Err() != nil {
			break
		}
		if !logged {
			s.log.Error("http server is not up, trying again", "addr", s.addr, "err", err)
			logged = true
		}
		pause(ctx, delay)
		delay = min(2*delay, s.retryMax)
	}
	return nil
}

// serve returns after the context ended, with every connection closed, or when
// the listener fails.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      65 * time.Second, // a CPU profile of pprof takes 30 s, up to a minute if asked
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// A profile under way ends with the program.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	failed := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-failed:
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			_ = srv.Close()
		}
	}()
	err := srv.Serve(listener)
	close(failed)
	<-stopped
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// pause waits, but not beyond the context.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
