package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/wake"
)

const (
	// maxConnections is enough for a kubelet, several Prometheus servers and many waits. Partially
	// sent requests on all connections occupy about 1 MiB.
	maxConnections = 64
	maxResponses   = 4               // of /status, and of /metrics, at a time
	maxWait        = 3 * time.Second // of a further request; clients wait for up to 5 s
)

// Sources provide the content of the responses. Requests call them concurrently.
type Sources struct {
	Metrics func(Page)  // adds every series
	Ready   func() bool // reports whether the volume contains a complete generation
	Status  func() *status.Document
}

// Handler serves /livez, /readyz, /metrics and /status. /livez depends on nothing, because an
// outage of the API server must not restart the container. No response contains a key name or a path.
func Handler(s Sources) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.Ready() {
			http.Error(w, "the volume contains no complete generation; see the log", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", limited(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		page := Page{}
		s.Metrics(page)
		fmt.Fprint(w, page)
	}))
	mux.HandleFunc("GET /status", limited(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = status.WriteJSON(w, s.Status())
	}))
	return mux
}

// limited limits the concurrent calls of respond, and the requests that wait. A response can be
// large, its client slow to read, and Status waits for a publish. The end of a
// connection does not end its request.
func limited(respond func(http.ResponseWriter)) http.HandlerFunc {
	var requests atomic.Int64
	slots := make(chan struct{}, maxResponses)
	return func(w http.ResponseWriter, r *http.Request) {
		wait := maxWait
		if requests.Add(1) > maxConnections {
			wait = 0
		}
		defer requests.Add(-1)
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			respond(w)
		case <-r.Context().Done():
		case <-time.After(wait):
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many concurrent requests, or the volume is slow", http.StatusServiceUnavailable)
		}
	}
}

// Serve serves h at an address until ctx ends and then returns nil. If it cannot listen, for
// example because the port is in use, it logs this once and tries again: a second sidecar with
// the same port must not keep the Secrets from the app.
func Serve(ctx context.Context, addr string, h http.Handler, log *slog.Logger) error {
	for down := false; ctx.Err() == nil; wake.Sleep(ctx, 2*time.Second) {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err == nil {
			log.Info("http server listens", "addr", listener.Addr().String())
			down = false
			err = serve(ctx, listener, h, log)
		}
		if ctx.Err() == nil && !down {
			log.Error("http server is down, retrying", "addr", addr, "err", err)
			down = true
		}
	}
	return nil
}

// serve returns when the listener fails or ctx ends. It then closes every connection, because
// the process must end within a second. Anybody who reaches the port can open connections, so
// their number, the size of a header and every duration are limited.
func serve(ctx context.Context, listener net.Listener, h http.Handler, log *slog.Logger) error {
	var descriptors unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &descriptors) // 0 descriptors permit a single connection
	open := connections{limit: limitFor(descriptors.Cur)}
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ConnState:         open.changed,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	return srv.Serve(listener)
}

// limitFor reserves seven eighths of the file descriptors for the work of secret-sync.
func limitFor(descriptors uint64) int { return int(min(maxConnections, max(1, descriptors/8))) }

// connections closes the oldest connection when there are too many. New connections are always
// accepted: otherwise, idle connections of somebody else would make the liveness probe fail.
type connections struct {
	limit int
	mu    sync.Mutex
	open  []net.Conn // the connection whose state changed last is the last
}

// changed implements http.Server.ConnState. A connection closed by changed may still change
// its state, and does not count again.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := slices.Contains(c.open, conn)
	c.open = slices.DeleteFunc(c.open, func(other net.Conn) bool { return other == conn })
	if state == http.StateNew || known && (state == http.StateActive || state == http.StateIdle) {
		c.open = append(c.open, conn)
	}
	if len(c.open) > c.limit {
		_ = c.open[0].Close()
		c.open = slices.Delete(c.open, 0, 1)
	}
}
