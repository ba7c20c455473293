package webhook

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// TestWebhook_lateAnswer: an answer after three timeouts is a success of the first call.
// A second call would make the app reload twice.
func TestWebhook_lateAnswer(t *testing.T) {
	const timeout = 300 * time.Millisecond
	var log testsupport.Log
	server, got := serve(t, func(http.ResponseWriter, *http.Request) { <-time.After(3 * timeout) })
	server.Start()
	w := newWebhook(t, server.URL+"/?token=hunter2",
		Target{Timeout: timeout, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err := w.Notify(t.Context(), someChanges); err != nil {
		t.Error(err)
	}
	if len(got) != 1 {
		t.Errorf("%d calls, want 1", len(got))
	}
	text := log.String()
	if strings.Count(text, "SECRETSYNC_WEBHOOK_TIMEOUT") != 1 || strings.Contains(text, "hunter2") ||
		!strings.Contains(text, `"url":"`+server.URL+`/"`) {
		t.Errorf("log = %q, want one line that names the variable and the URL", text)
	}
}

// TestWebhook_neverAnswers: Notify abandons the call after lateFactor timeouts.
func TestWebhook_neverAnswers(t *testing.T) {
	const timeout = 100 * time.Millisecond
	w := newWebhook(t, rawServer(t, func(c net.Conn, _ string) { io.Copy(io.Discard, c) }), Target{Timeout: timeout})
	began := time.Now()
	err := w.Notify(t.Context(), someChanges)
	testsupport.WantError(t, err, "no answer within", "SECRETSYNC_WEBHOOK_TIMEOUT")
	if took := time.Since(began); took < lateFactor*timeout {
		t.Errorf("Notify returned after %v, want at least %v", took, lateFactor*timeout)
	}
	if kind := notifier.AsFailure(err).Kind; kind != "timeout" {
		t.Errorf("kind = %q, want timeout", kind)
	}
}

// TestWebhook_notSent: a call whose request cannot be sent ends after a single timeout.
func TestWebhook_notSent(t *testing.T) {
	const timeout = 200 * time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // it accepts no connection, so the TLS handshake hangs
	w := newWebhook(t, "https://"+listener.Addr().String(), Target{Timeout: timeout})
	began := time.Now()
	testsupport.WantError(t, w.Notify(t.Context(), someChanges), "no answer within")
	if took := time.Since(began); took >= lateFactor*timeout {
		t.Errorf("Notify returned after %v, want about %v", took, timeout)
	}
}

// fullListener returns a listener whose queue has no room for a connection.
func fullListener(t *testing.T, network, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	raw, err := listener.(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.Listen(int(fd), 0) }) // a queue of a single connection
	}
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		var conn net.Conn
		if conn, err = net.DialTimeout(network, listener.Addr().String(), 200*time.Millisecond); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return listener
}

// TestWebhook_notConnected: a call that cannot connect ends after a single timeout.
func TestWebhook_notConnected(t *testing.T) {
	const timeout = 200 * time.Millisecond
	listener := fullListener(t, "tcp", "127.0.0.1:0")
	w := newWebhook(t, "http://"+listener.Addr().String(), Target{Timeout: timeout})
	began := time.Now()
	err := w.Notify(t.Context(), someChanges)
	testsupport.WantError(t, err, "no answer within", "SECRETSYNC_WEBHOOK_TIMEOUT")
	if took := time.Since(began); took >= lateFactor*timeout || notifier.AsFailure(err).Kind != "timeout" {
		t.Errorf("%v after %v, want a timeout after about %v", err, took, timeout)
	}
}

// TestWebhook_fullSocket: a Unix socket with a full queue rejects a connection at once. This is no timeout.
func TestWebhook_fullSocket(t *testing.T) {
	listener := fullListener(t, "unix", t.TempDir()+"/app.sock")
	w := newWebhook(t, "unix://"+listener.Addr().String()+":/", Target{Timeout: time.Minute})
	err := w.Notify(t.Context(), someChanges)
	testsupport.WantError(t, err, "resource temporarily unavailable")
	if kind := notifier.AsFailure(err).Kind; kind == "timeout" {
		t.Errorf("%v is a timeout", err)
	}
}

// TestWebhook_advice: the error of each status names its likely cause.
func TestWebhook_advice(t *testing.T) {
	token := t.TempDir() + "/token"
	write(t, token, "hunter2")
	for status, want := range map[int]string{
		302: "if this is a login page, set SECRETSYNC_WEBHOOK_TOKEN_FILE",
		401: "check its audience",
		405: "does not accept POST for this path; see SECRETSYNC_WEBHOOK_METHOD",
		429: "limits the rate of calls",
	} {
		server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://login.example/")
			w.WriteHeader(status)
		})
		server.Start()
		testsupport.WantError(t, newWebhook(t, server.URL, Target{TokenFile: token}).Notify(t.Context(),
			someChanges), want)
	}
}

// TestWebhook_http2Only: an https server that speaks only HTTP/2 can be called.
func TestWebhook_http2Only(t *testing.T) {
	var major atomic.Int64
	server, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { major.Store(int64(r.ProtoMajor)) })
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP2(true)
	server.EnableHTTP2 = true
	server.StartTLS()
	w := newWebhook(t, server.URL, Target{CAFile: caFile(t, server)})
	if err := w.Notify(t.Context(), someChanges); err != nil || major.Load() != 2 {
		t.Errorf("HTTP/%d, error %v, want HTTP/2", major.Load(), err)
	}
}

// TestWebhook_h2c: the error for a server that speaks only HTTP/2 without TLS names the
// cause.
func TestWebhook_h2c(t *testing.T) {
	address := rawServer(t, func(c net.Conn, _ string) {
		c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS
		io.Copy(io.Discard, c)
	})
	err := newWebhook(t, address, Target{}).Notify(t.Context(), someChanges)
	testsupport.WantError(t, err, "only HTTP/2 without TLS (h2c)")
	if kind := notifier.AsFailure(err).Kind; kind != "HTTP/2" {
		t.Errorf("kind = %q, want HTTP/2", kind)
	}
}

// TestWebhook_headerLimit: net/http alone would read a megabyte of response headers.
func TestWebhook_headerLimit(t *testing.T) {
	for size, want := range map[int]string{32 << 10: "", 128 << 10: "webhook"} {
		server, _ := serve(t,
			func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", size)) })
		server.Start()
		err := newWebhook(t, server.URL, Target{}).Notify(context.Background(), someChanges)
		if want != "" {
			testsupport.WantError(t, err, want)
		} else if err != nil {
			t.Errorf("%d bytes of headers: %v", size, err)
		}
	}
}
