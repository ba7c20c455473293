package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

func TestHandler_paths(t *testing.T) {
	ready := false
	h := Handler(Sources{Ready: func() bool { return ready }})
	for _, tt := range []struct {
		method, path string
		ready        bool
		status       int
		body         string
	}{
		{"GET", "/livez", true, 200, "ok\n"},
		{"GET", "/livez", false, 200, "ok\n"},
		{"GET", "/readyz", true, 200, "ok\n"},
		{"GET", "/readyz", false, 503, "the volume contains no complete generation; see the log\n"},
		{"HEAD", "/readyz", true, 200, "ok\n"}, // net/http removes the body, the recorder does not
		{"POST", "/readyz", true, 405, "Method Not Allowed\n"},
		{"DELETE", "/metrics", true, 405, "Method Not Allowed\n"},
		{"GET", "/", true, 404, "404 page not found\n"},
		{"GET", "/livez/x", true, 404, "404 page not found\n"},
		{"GET", "/debug/pprof/", true, 404, "404 page not found\n"},
	} {
		ready = tt.ready
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, httptest.NewRequest(tt.method, tt.path, nil))
		if recorder.Code != tt.status || recorder.Body.String() != tt.body {
			t.Errorf("%s %s: got %d %q, want %d %q", tt.method, tt.path, recorder.Code, recorder.Body, tt.status,
				tt.body)
		}
	}
}

// TestServe_takenPort: a taken port is logged once, and served when it is free. A later failure is
// logged again.
func TestServe_takenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := taken.Addr().String()
	var log testsupport.Log
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	handler := http.NewServeMux()
	handler.Handle("/livez", Handler(Sources{}))
	handler.HandleFunc("/fail", func(_ http.ResponseWriter, r *http.Request) {
		_ = r.Context().Value(http.ServerContextKey).(*http.Server).Close()
	})
	go func() { done <- Serve(ctx, addr, handler, log.Logger(slog.LevelDebug)) }()
	wait := func(text string, count int) {
		t.Helper()
		testsupport.Eventually(t, text, func() error {
			if got := log.Count(text); got != count {
				return fmt.Errorf("logged %d times, want %d", got, count)
			}
			return nil
		})
	}
	wait("address already in use", 1)
	_ = taken.Close()
	wait("http server listens", 1)
	if got := get(t, "http://"+addr+"/livez"); got != "ok\n" {
		t.Errorf("got %q", got)
	}
	if got := log.Count("level=ERROR"); got != 1 {
		t.Errorf("got %d errors in the log, want 1:\n%s", got, &log)
	}
	_, _ = http.Get("http://" + addr + "/fail")
	wait("level=ERROR", 2)
	wait("http server listens", 2)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}

// TestServe_logsOnce: a port that stays taken is logged once.
func TestServe_logsOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	synctest.Test(t, func(t *testing.T) {
		var log testsupport.Log
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Serve(ctx, taken.Addr().String(), http.NotFoundHandler(), log.Logger(slog.LevelDebug)); err != nil {
			t.Errorf("got %v", err)
		}
		if got := log.Count("address already in use"); got != 1 {
			t.Errorf("got %d lines in a minute, want 1:\n%s", got, &log)
		}
	})
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestServe_endsWhileThePortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.NewTextHandler(cancelOnWrite(cancel), nil)) // the error was logged
	if err := Serve(ctx, taken.Addr().String(), http.NotFoundHandler(), log); err != nil {
		t.Errorf("got %v", err)
	}
}

type cancelOnWrite func()

func (c cancelOnWrite) Write(p []byte) (int, error) { c(); return len(p), nil }

// TestServe_endsWithinASecond: a request that does not end must not keep the program running.
func TestServe_endsWithinASecond(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- serve(ctx, listener, handler, slog.New(slog.DiscardHandler)) }()
	go func() { _, _ = http.Get("http://" + listener.Addr().String()) }()
	<-entered
	cancel()
	start := time.Now()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %s", took)
	}
}
