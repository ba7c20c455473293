package telemetry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

// request calls h and returns the response.
func request(ctx context.Context, h http.Handler, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return recorder
}

// TestHandler_blockedStatus: while the volume hangs, thousands of requests for /status from closed connections occupy a
// bounded number of goroutines. Each other path answers at once. Later, /status works again.
func TestHandler_blockedStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, entered := make(chan struct{}), atomic.Int64{}
		h := Handler(Sources{
			Status:  func() *status.Document { entered.Add(1); <-hung; return &status.Document{} },
			Ready:   func() bool { return true },
			Metrics: func(Page) {},
		})
		var all sync.WaitGroup
		var handlers atomic.Int64
		for range 3000 {
			handlers.Add(1)
			all.Go(func() { request(t.Context(), h, "/status"); handlers.Add(-1) })
		}
		synctest.Wait()
		time.Sleep(time.Millisecond) // without this, a timer of zero is not due
		synctest.Wait()
		if got := handlers.Load(); got > maxConnections || entered.Load() > maxResponses {
			t.Errorf("%d handlers run and %d wait for the volume, want at most %d and %d", got, entered.Load(),
				maxConnections, maxResponses)
		}
		began := time.Now()
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			if got := request(t.Context(), h, path).Code; got != http.StatusOK || time.Since(began) > 0 {
				t.Errorf("%s: status %d after %v, want 200 at once", path, got, time.Since(began))
			}
		}
		time.Sleep(maxWait)
		synctest.Wait()
		got := request(t.Context(), h, "/status")
		if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %v, want 503 with Retry-After", got.Code, got.Header())
		}
		close(hung)
		all.Wait()
		if got := request(t.Context(), h, "/status").Code; got != http.StatusOK {
			t.Errorf("status %d after the volume works again, want 200", got)
		}
	})
}

// TestHandler_burst: many concurrent requests wait for each other and succeed. The end of the connection ends the wait.
func TestHandler_burst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func() { time.Sleep(100 * time.Millisecond) }
		h := Handler(Sources{
			Status:  func() *status.Document { slow(); return &status.Document{} },
			Metrics: func(Page) { slow() },
		})
		var all sync.WaitGroup
		for range 50 {
			for _, path := range []string{"/status", "/metrics"} {
				all.Go(func() {
					if got := request(t.Context(), h, path).Code; got != http.StatusOK {
						t.Errorf("%s: status %d, want 200", path, got)
					}
				})
			}
		}
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if request(ended, h, "/status"); time.Since(began) > 0 {
			t.Errorf("a request without a client took %v", time.Since(began))
		}
		all.Wait()
	})
}

// TestServe_clientsThatDoNotRead: clients that send many requests and read no response occupy the memory of only
// maxResponses responses.
func TestServe_clientsThatDoNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var documents atomic.Int64
		connect := serving(t, Sources{Status: func() *status.Document {
			documents.Add(1)
			return &status.Document{Namespace: string(make([]byte, 1<<20))}
		}})
		for range maxConnections {
			conn := connect()
			go func() { _, _ = io.WriteString(conn, "GET /status HTTP/1.1\r\nHost: a\r\n\r\n") }()
		}
		synctest.Wait()
		if got := documents.Load(); got != maxResponses {
			t.Errorf("%d responses at a time, want %d", got, maxResponses)
		}
		time.Sleep(time.Minute) // the server closes the connections
	})
}
