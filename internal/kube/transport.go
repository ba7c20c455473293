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

// An HTTP/2 connection on which nothing comes for pingAfter is pinged. Without an
// answer for pingWait it is dead.
const (
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
)

// transport is HTTP with the TLS and the authentication of a cluster's
// configuration.
type transport struct {
	http.RoundTripper
	close func() // breaks all connections, also those that are being opened
}

// newTransport does what rest.HTTPClientFor does, with these differences:
//   - Its connections are not shared, and can be broken. client-go shares and
//     keeps transports by their configuration.
//   - Dead connections are found after 15 s, not 45.
//   - Files are read again when the server refuses what was in them (Renew), not
//     on a timer.
//   - HTTP/2 is that of net/http. That of golang.org/x/net adds 0.5 MB to the
//     binary, and would save 32 lines here.
//
// cfg.Transport is not used.
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
		base.CloseIdleConnections() // ends them as the protocol wants
		cancel()
	}}, nil
}

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
		DialContext:         detail.DialHolder.Dial, // ours, or an exec plugin's around it
		TLSClientConfig:     tls,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 25,                               // for HTTP/1.1, where each watch has a connection
		DisableCompression:  true,                             // in the cluster's network it costs more than it saves
		ForceAttemptHTTP2:   os.Getenv("DISABLE_HTTP2") == "", // as client-go has it
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
	}
	if detail.Proxy != nil {
		base.Proxy = detail.Proxy
	}
	wrapped, err := clienttransport.HTTPWrappersForConfig(detail, base)
	return base, wrapped, err
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialUntil opens connections that last until ctx is done; dial is the user's
// own way to open them, or nil. net/http lets a dial go on when the request that
// asked for it is gone, so ctx ends that, too.
//
// A server that does not answer is given up after 5 s. HTTP/2 pings find dead
// connections; the kernel's keep-alives find those of HTTP/1.1 in 16 s, without
// waking this process.
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
		if err == nil && ctx.Err() != nil { // CloseAll may have missed it
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		return conn, err
	}
}
