package watcher

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	clienttransport "k8s.io/client-go/transport"
)

// An HTTP/2 connection on which nothing came for pingAfter is pinged; without an
// answer for pingWait it is dead.
const (
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
)

// transport is HTTP with what a cluster's configuration says of TLS and
// authentication, and the connections below it.
type transport struct {
	wrapped http.RoundTripper
	http    *http.Transport
	dialer  *dialer
}

// newTransport does what rest.HTTPClientFor does, but for this: connections can
// be broken; dead ones are found in 15 s, not 45; they are nobody else's (client-go
// shares and keeps transports by their configuration); files that changed are
// read again when the server refuses what was in them (renew), not on a timer;
// and HTTP/2 is that of net/http, as a second one, of golang.org/x/net, costs
// 0.5 MB. cfg.Transport is not used.
func newTransport(cfg *rest.Config) (*transport, error) {
	dialer := newDialer(cfg.Dial)
	cfg = rest.CopyConfig(cfg)
	cfg.Dial = dialer.dial
	detail, err := cfg.TransportConfig()
	if err != nil {
		return nil, err
	}
	tls, err := clienttransport.TLSConfigFor(detail)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         detail.DialHolder.Dial, // ours, or an exec plugin's around it
		TLSClientConfig:     tls,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 25, // for HTTP/1.1, where each watch has a connection
		DisableCompression:  cfg.DisableCompression,
		ForceAttemptHTTP2:   os.Getenv("DISABLE_HTTP2") == "", // as client-go has it
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
	}
	if detail.Proxy != nil {
		t.Proxy = detail.Proxy
	}
	wrapped, err := clienttransport.HTTPWrappersForConfig(detail, t)
	if err != nil {
		return nil, err
	}
	return &transport{wrapped, t, dialer}, nil
}

// close lets idle connections end as the protocol wants, and breaks those that
// still carry something.
func (t *transport) close() {
	t.http.CloseIdleConnections()
	t.dialer.close()
}

// exchange is what the transport saw of one request and its answer. client-go
// hides part of it: a watch that cannot be opened for a broken connection looks
// to it like a watch that ended, and so does one that is reset.
type exchange struct {
	mu          sync.Mutex
	err         error // of the connection, before or in the answer
	contentType string
	retryAfter  time.Duration
}

type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := &exchange{}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

func (x *exchange) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil && !errors.Is(err, context.Canceled) {
		x.err = err
	}
}

// seen is what was recorded so far.
func (x *exchange) seen() (contentType string, retryAfter time.Duration, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.contentType, x.retryAfter, x.err
}

// recorder writes down the exchange that is in a request's context, if any.
type recorder struct{ next http.RoundTripper }

func record(next http.RoundTripper) http.RoundTripper { return recorder{next} }

func (r recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	switch {
	case x == nil:
	case err != nil:
		x.fail(err)
	default:
		x.mu.Lock()
		x.contentType = resp.Header.Get("Content-Type")
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			x.retryAfter = time.Duration(min(max(seconds, 0), 3600)) * time.Second
		}
		x.mu.Unlock()
		resp.Body = recordedBody{resp.Body, x}
	}
	return resp, err
}

type recordedBody struct {
	io.ReadCloser
	x *exchange
}

func (b recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.x.fail(err)
	}
	return n, err
}

// dialer opens TCP connections and remembers them, so that they can be ended
// when requests on them cannot.
type dialer struct {
	next  func(ctx context.Context, network, address string) (net.Conn, error)
	ended chan struct{} // closed at the end

	mu   sync.Mutex
	open map[net.Conn]bool // nil: ended
}

// newDialer makes a dialer; next is the user's own way to connect, or nil.
//
// A server that does not answer is given up after 5 s. Dead connections are the
// business of HTTP/2 pings; keep-alives of the kernel find those of HTTP/1.1 in
// 16 s, and cost no wake-up of this process.
func newDialer(next func(ctx context.Context, network, address string) (net.Conn, error)) *dialer {
	if next == nil {
		next = (&net.Dialer{
			Timeout:         5 * time.Second,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 2},
		}).DialContext
	}
	return &dialer{next: next, ended: make(chan struct{}), open: map[net.Conn]bool{}}
}

// dial opens a connection. net/http lets a dial go on when the request that
// asked for it is gone, so that it has to be ended here, too.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	returned := make(chan struct{})
	defer close(returned)
	go func() {
		select {
		case <-d.ended:
			cancel()
		case <-returned:
		}
	}()
	conn, err := d.next(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	tracked := &trackedConn{Conn: conn, dialer: d}
	d.open[tracked] = true
	return tracked, nil
}

// close breaks all connections, and those that are still being opened.
func (d *dialer) close() {
	d.mu.Lock()
	open := d.open
	if open != nil {
		close(d.ended)
	}
	d.open = nil
	d.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	dialer *dialer
}

func (c *trackedConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}
