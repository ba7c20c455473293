package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// TestWebhook_ends calls servers whose answers do not end. The call ends at the timeout,
// or succeeds as soon as it reads the status.
func TestWebhook_ends(t *testing.T) {
	hold := func(conn net.Conn, _ string) { io.Copy(io.Discard, conn) }
	for _, test := range []struct {
		name   string
		answer func(net.Conn, string)
		want   string
	}{
		{"no answer", hold, "no answer within"},
		{"half a header", func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A: "); hold(c, "") },
			"no answer within"},
		{"endless header", endless("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"), "webhook"},
		{"endless body", endless("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 1<<16)), ""},
		{"incomplete body", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
			hold(c, "")
		}, ""},
		{"incomplete body of an error", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\n123")
			hold(c, "")
		}, "500"},
		{"endless 1xx", endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "webhook"},
		{"garbage", func(c net.Conn, _ string) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n") }, "malformed"},
		{"closes the connection", func(net.Conn, string) {}, "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWebhook(t, rawServer(t, test.answer), Target{Timeout: 100 * time.Millisecond})
			err := w.Notify(t.Context(), someChanges)
			if test.want != "" {
				testsupport.WantError(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func endless(first, more string) func(net.Conn, string) {
	return func(c net.Conn, _ string) {
		go io.Copy(io.Discard, c)
		for _, err := io.WriteString(c, first); err == nil; {
			_, err = io.WriteString(c, more)
		}
	}
}

// rawServer returns the URL of a server. It calls answer with each connection and the
// request.
func rawServer(t *testing.T, answer func(net.Conn, string)) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				n, _ := conn.Read(buf)
				answer(conn, string(buf[:n]))
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// TestWebhook_incompleteBody: a success does not wait for the rest of the body.
func TestWebhook_incompleteBody(t *testing.T) {
	w := newWebhook(t, rawServer(t, func(c net.Conn, _ string) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
		io.Copy(io.Discard, c) // until the client closes it
	}), Target{Timeout: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Notify(ctx, someChanges); err != nil || ctx.Err() != nil {
		t.Errorf("error %v, %v", err, ctx.Err())
	}
}

// TestWebhook_endsWithItsContext: the end of the sidecar cancels the call.
func TestWebhook_endsWithItsContext(t *testing.T) {
	called := make(chan struct{})
	w := newWebhook(t, rawServer(t, func(c net.Conn, _ string) {
		close(called)
		io.Copy(io.Discard, c)
	}), Target{Timeout: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-called; cancel() }()
	if err := w.Notify(ctx, someChanges); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
}

// TestWebhook_stableKinds: repeated failures are of the same kind, so the log contains a
// single warning.
func TestWebhook_stableKinds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close() // connections are refused
	for name, address := range map[string]string{
		"refused": "http://" + listener.Addr().String(),
		"reset": rawServer(t, func(c net.Conn, _ string) {
			c.(*net.TCPConn).SetLinger(0)
		}),
	} {
		w := newWebhook(t, strings.Replace(address, "//", "//user:hunter2@", 1)+"/x?token=hunter2", Target{})
		kinds := map[string]bool{}
		for range 5 {
			f := notifier.AsFailure(w.Notify(t.Context(), someChanges))
			kinds[f.Kind] = true
			if strings.Contains(f.Kind+f.Error(), "hunter2") {
				t.Errorf("%s: the failure contains a secret: %q, %v", name, f.Kind, f)
			}
		}
		if len(kinds) != 1 {
			t.Errorf("%s: kinds = %v, want 1", name, kinds)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "1.5": 0,
		"99999": retryAfterMax, "4294967295": retryAfterMax, "99999999999999999999": 0,
		"Sun, 22 Nov 2026 10:01:00 GMT": time.Minute,
		"Sun, 22 Nov 2026 09:00:00 GMT": 0,
		"Sun, 22 Nov 2099 09:00:00 GMT": retryAfterMax,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q = %v, want %v", value, got, want)
		}
	}
	for status, want := range map[int]time.Duration{429: 40 * time.Second, 503: 40 * time.Second, 500: 0} {
		server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "40")
			w.WriteHeader(status)
		})
		server.Start()
		err := newWebhook(t, server.URL, Target{}).Notify(t.Context(), someChanges)
		if got := notifier.AsFailure(err).RetryAfter; got != want {
			t.Errorf("%d: RetryAfter = %v, want %v", status, got, want)
		}
	}
}
