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

// A roundTripper is a function that implements http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// newTransport returns an HTTP transport with the TLS and the authentication of cfg. Unlike the transport of
// rest.HTTPClientFor, its connections are not shared, break when ctx is done, and are pinged earlier. It uses the
// HTTP/2 of net/http; docs/design.md contains the cost of the other.
func newTransport(ctx context.Context, cfg *rest.Config) (http.RoundTripper, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.Dial = dialUntil(ctx, cfg.Dial)
	detail, err := cfg.TransportConfig()
	if err != nil {
		return nil, err
	}
	tls, err := clienttransport.TLSConfigFor(detail)
	if err != nil {
		return nil, err
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
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
	if detail.Proxy != nil {
		base.Proxy = detail.Proxy
	}
	return clienttransport.HTTPWrappersForConfig(detail, roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := base.RoundTrip(r)
		if err != nil {
			err = networkError{err}
		}
		return answer, err
	}))
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialUntil returns a dialFunc whose connections end when ctx is done. Dials end too: net/http continues a dial even
// after its request is gone.
//
// If dial is nil, a dial times out after 5 s, and the keep-alives of the kernel detect a dead HTTP/1.1 connection
// within 16 s without waking this process.
func dialUntil(ctx context.Context, dial dialFunc) dialFunc {
	if dial == nil {
		alive := net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 2}
		dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: alive}).DialContext
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
