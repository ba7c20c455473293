package kube

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"

	"k8s.io/client-go/rest"
	clienttransport "k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
)

// If an HTTP/2 connection is silent for pingAfter, the client sends a ping. If no answer
// arrives within pingTimeout, the connection is dead.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// A transport is an HTTP transport with the TLS and the authentication of a rest.Config.
type transport struct {
	http.RoundTripper
	close func() // breaks all connections, also during their dial
}

// newTransport differs from rest.HTTPClientFor in these points:
//   - Its connections are not shared, and close breaks them.
//   - It detects a dead connection earlier.
//   - Renew reads files again after the server has rejected them. There is no timer.
//   - It uses the HTTP/2 of net/http; docs/design.md contains the cost of the other.
//
// newTransport ignores cfg.Transport.
func newTransport(cfg *rest.Config) (*transport, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cfg = rest.CopyConfig(cfg)
	cfg.Dial = dialUntil(ctx, cfg.Dial)
	base, wrapped, err := buildTransport(cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	return &transport{RoundTripper: wrapped, close: func() {
		base.CloseIdleConnections() // closes idle connections in the regular way
		cancel()
	}}, nil
}

// failingTransport returns a transport whose requests fail with err.
func failingTransport(err error) *transport {
	fail := roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
	return &transport{RoundTripper: fail, close: func() {}}
}

// A roundTripper is a function that implements http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func buildTransport(cfg *rest.Config) (*http.Transport, http.RoundTripper, error) {
	detail, err := cfg.TransportConfig()
	if err != nil {
		return nil, nil, err
	}
	tls, err := clienttransport.TLSConfigFor(detail)
	if err != nil {
		return nil, nil, err
	}
	base := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         detail.DialHolder.Dial, // from cfg.Dial, perhaps wrapped by a credential plugin
		TLSClientConfig:     tls,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 25,                               // for HTTP/1.1: a connection per watch
		DisableCompression:  true,                             // within a cluster it costs more than it saves
		ForceAttemptHTTP2:   os.Getenv("DISABLE_HTTP2") == "", // the same variable as in client-go
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	if detail.Proxy != nil {
		base.Proxy = detail.Proxy
	}
	wrapped, err := clienttransport.HTTPWrappersForConfig(detail, markErrors(base))
	return base, wrapped, err
}

// markErrors wraps the errors of base in a networkError.
func markErrors(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := base.RoundTrip(r)
		if err != nil {
			err = networkError{err}
		}
		return answer, err
	})
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialUntil returns a dialFunc whose connections end when ctx is done. Dials end too:
// net/http continues a dial even after its request is gone. If dial is nil, dialUntil uses a
// net.Dialer.
//
// A dial times out after 5 s. HTTP/2 pings detect a dead connection. For HTTP/1.1, the
// keep-alives of the kernel detect it within 16 s without waking this process.
func dialUntil(ctx context.Context, dial dialFunc) dialFunc {
	if dial == nil {
		dial = (&net.Dialer{
			Timeout:         5 * time.Second,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 2},
		}).DialContext
	}
	tracked := connrotation.NewDialer(dial)
	context.AfterFunc(ctx, tracked.CloseAll)
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		dialing, cancel := context.WithCancel(dialing)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		conn, err := tracked.DialContext(dialing, network, address)
		if err == nil && ctx.Err() != nil { // CloseAll may have missed this connection
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		return conn, err
	}
}
