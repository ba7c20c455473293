package telemetry

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener for connections in memory, which work with the clock of synctest.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serving runs the server in a synctest bubble and returns a function to connect to it.
func serving(t *testing.T, sources Sources) (connect func() net.Conn) {
	t.Helper()
	listener := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	handler := Handler(sources)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = serve(ctx, listener, handler, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); <-done })
	return func() net.Conn {
		client, conn := net.Pipe()
		listener.accepted <- conn
		t.Cleanup(func() { client.Close() })
		return client
	}
}

// closedAfter returns the time until the server closes the connection, or fails after an hour.
func closedAfter(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(time.Hour))
	_, err := io.Copy(io.Discard, conn)
	if err != nil {
		t.Errorf("the server did not close the connection: %v", err)
	}
	return time.Since(began)
}

// TestServe_timeLimits: a client loses its connection if it sends a request slowly, or none
// at all.
func TestServe_timeLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		sent string
		want time.Duration
	}{
		"ReadHeaderTimeout of no request":       {"", 5 * time.Second},
		"ReadHeaderTimeout of a partial header": {"GET /livez HTTP/1.1\r\nHost: a\r\nX: ", 5 * time.Second},
		"ReadTimeout of a partial body": {
			"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx", 10 * time.Second,
		},
		"IdleTimeout after a request": {"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := serving(t, Sources{})()
				go func() { _, _ = io.WriteString(conn, tt.sent) }()
				if took := closedAfter(t, conn); took < tt.want || took > tt.want+time.Second {
					t.Errorf("closed after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// TestServe_writeTimeout: a client loses its connection if it does not read the response.
func TestServe_writeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := serving(t, Sources{})()
		_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(time.Minute) // nobody reads the pipe, and it is unbuffered
		if n, err := io.Copy(io.Discard, conn); n > 0 || err != nil {
			t.Errorf("read %d bytes, %v; want a closed connection", n, err)
		}
	})
}

// TestServe_headerLimit: a header of 20 KB is rejected, and a header of 4 KB is not.
func TestServe_headerLimit(t *testing.T) {
	for size, want := range map[int]int{4 << 10: http.StatusOK, 20 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		synctest.Test(t, func(t *testing.T) {
			conn := serving(t, Sources{})()
			go func() {
				fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", strings.Repeat("x", size))
			}()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != want {
				t.Fatalf("a header of %d bytes: got %v, %v, want %d", size, resp, err, want)
			}
			time.Sleep(time.Minute) // the server waits before it closes the connection
		})
	}
}

// TestServe_connectionLimit: more connections than the limit close the oldest, whether they are
// idle or have sent a part of a request, and a probe still gets its answer.
func TestServe_connectionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connect := serving(t, Sources{})
		var conns []net.Conn
		for i := range maxConnections + 10 {
			conn := connect()
			if i%2 == 0 {
				_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\n")
			}
			synctest.Wait()
			conns = append(conns, conn)
		}
		probe := connect()
		_, _ = io.WriteString(probe, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(probe), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("the probe got %v, %v", resp, err)
		}
		closed := 0
		for _, conn := range conns {
			_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); err == io.EOF {
				closed++
			}
		}
		if closed != 11 {
			t.Errorf("%d connections are closed, want 11", closed)
		}
	})
}

// TestConnectionLimit_reserve: most descriptors remain for the work of secret-sync.
func TestConnectionLimit_reserve(t *testing.T) {
	for descriptors, want := range map[uint64]int{1 << 20: 64, 1024: 64, 512: 64, 256: 32, 64: 8, 4: 1} {
		if got := limitFor(descriptors); got != want {
			t.Errorf("limitFor(%d) = %d, want %d", descriptors, got, want)
		}
	}
}
