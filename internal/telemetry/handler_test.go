package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHandler_paths(t *testing.T) {
	ready := false
	h := Handler(NewMetrics(), Sources{Ready: func() bool { return ready }})
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
			t.Errorf("%s %s: got %d %q, want %d %q", tt.method, tt.path, recorder.Code, recorder.Body, tt.status, tt.body)
		}
	}
}

// logged collects the log.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), text)
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestTakenPortIsServedOnceItIsFree(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log logged
	s := server{addr: taken.Addr().String(), handler: Handler(NewMetrics(), Sources{}), log: log.logger()}
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		s.try(ctx)
	}
	if got := log.count("address already in use"); got != 1 {
		t.Errorf("got %d times that the port is taken, want once:\n%s", got, &log)
	}
	done := make(chan error)
	go func() { done <- Serve(ctx, s.addr, s.handler, s.log) }()
	for log.count("address already in use") == 1 {
		time.Sleep(time.Millisecond)
	}
	_ = taken.Close()
	for log.count("http server listens") == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := get(t, "http://"+s.addr+"/livez"); got != "ok\n" {
		t.Errorf("got %q", got)
	}
	if got := log.count("level=ERROR"); got != 2 {
		t.Errorf("got %d errors in the log, want one of each server:\n%s", got, &log)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("it still listens")
	}
	ctx, cancel = context.WithCancel(t.Context())
	go func() { s.try(ctx); close(done) }()
	for log.count("http server listens") == 1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if s.down { // a later user of the port would not be logged
		t.Error("it is still down")
	}
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

func TestServeEndsWhileThePortIsTaken(t *testing.T) {
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

// A request that does not end must not keep the program running.
func TestServeEndsWithinASecond(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := server{log: slog.New(slog.DiscardHandler), handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.serve(ctx, listener) }()
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
