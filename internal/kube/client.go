// Package kube is a small client of the Kubernetes API server. It lists, watches, gets and creates objects of the core
// API group. It also prints the RBAC rules for these requests.
//
// Configuration, TLS and authentication come from client-go. Requests are plain net/http with JSON. The section "Why
// not an informer" of docs/design.md contains the reasons and the figures.
//
// A call makes a single attempt. Every failed request returns an *Error. No error quotes a body, because a body may
// contain a Secret. The only exception is the message of a metav1.Status. The client detects a dead connection within
// 20 seconds, and Close breaks every connection.
package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	clienttransport "k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/klog/v2"
)

// init turns off the logs of client-go. They bypass the program's logger, repeat each failed attempt, and may print
// whole objects with the values of Secrets.
func init() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) }

// A Resource is a namespaced resource, and the kind of its objects.
type Resource struct {
	schema.GroupVersionResource
	Kind string
}

var (
	core    = schema.GroupVersion{Version: "v1"}
	Secrets = Resource{core.WithResource("secrets"), "Secret"}
	Pods    = Resource{core.WithResource("pods"), "Pod"}
	events  = Resource{core.WithResource("events"), "Event"}
)

// Path returns the path of the resource in a namespace, or of elements below it.
func (r Resource) Path(namespace string, elements ...string) string {
	root := "/apis"
	if r.Group == "" {
		root = "/api"
	}
	return strings.Join(append([]string{root, r.GroupVersion().String(), "namespaces", namespace, r.Resource},
		elements...), "/")
}

// A Client sends requests to an API server. Its methods are safe for concurrent use.
type Client struct {
	config      *rest.Config
	server      *url.URL
	files       []string // files with credentials, "" for none
	mu          sync.Mutex
	transport   http.RoundTripper
	close       context.CancelFunc // breaks all connections of transport, also during their dial
	credentials string             // content of the files that transport was made from
	outdated    atomic.Bool        // whether a request failed, and new credentials may fix the error
}

// NewClient returns a Client for cfg. It does not modify cfg and opens no connection.
//
// An invalid file with a token or a certificate is not an error of NewClient: the kubelet may replace it at any time.
// Requests fail until the file is valid.
func NewClient(cfg *rest.Config) (*Client, error) {
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("create a client for %q: %w", cfg.Host, err)
	}
	files := []string{cfg.CAFile, cfg.BearerTokenFile, cfg.CertFile, cfg.KeyFile}
	c := &Client{config: rest.CopyConfig(cfg), server: server, files: files, close: func() {}}
	if err := c.renew(); err != nil {
		if strings.Join(files, "") == "" {
			return nil, fmt.Errorf("create a client for %q: %w", cfg.Host, err)
		}
		c.transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	return c, nil
}

// current returns the transport for a request. If an earlier request failed with outdated credentials, current reads
// the files first: they may have changed since. If a file is invalid, the request fails as before.
func (c *Client) current() http.RoundTripper {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outdated.Swap(false) {
		_ = c.renew()
	}
	return c.transport
}

// renew reads the token and the certificates again. If a file changed, renew breaks all connections, and new requests
// use the new files. client-go reads a token again after a minute, a CA after five minutes, and neither after a 401.
func (c *Client) renew() error {
	var credentials string
	for _, path := range c.files {
		content, _ := os.ReadFile(path) // newTransport reports the error
		credentials += string(content) + "\x00"
	}
	if credentials == c.credentials {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport, err := newTransport(ctx, c.config)
	if err != nil {
		cancel()
		return err
	}
	c.close()
	c.transport, c.close, c.credentials = transport, cancel, credentials
	return nil
}

// Close breaks all connections. Later requests fail.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.close()
}

// largestDocument limits the bytes read by Get. The document may come from a Pod.
const largestDocument = 8 << 20

// Get returns the document at a path of the API server.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	r := request{verb: "get", resource: path, path: path}
	answer, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return r.read(answer, largestDocument)
}

// CreateEvent creates an Event in a namespace. The object is JSON.
func (c *Client) CreateEvent(ctx context.Context, namespace string, object []byte) error {
	answer, err := c.send(ctx, request{verb: "create", resource: "events", path: events.Path(namespace), body: object})
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

type request struct {
	verb, resource string // for errors, as in a Role
	path           string
	params         url.Values
	body           []byte // JSON, of a create
}

// send returns a successful answer. The caller closes its body. send does not follow redirects, because the new address
// would receive the token. If the server rejected the credentials, the next request renews them.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	target, method := c.server.JoinPath(r.path), http.MethodGet
	target.RawQuery = r.params.Encode()
	if r.body != nil {
		method = http.MethodPost
	}
	out, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, r.connectionFailed(err)
	}
	out.Header.Set("Accept", "application/json")
	out.Header.Set("Content-Type", "application/json")
	answer, err := c.current().RoundTrip(out)
	if err == nil && answer.StatusCode/100 == 2 {
		return answer, nil
	}
	failed := r.failed(answer, err)
	if failed.outdated() {
		c.outdated.Store(true)
	}
	return nil, failed
}

// read returns at most limit bytes of the body.
func (r request) read(answer *http.Response, limit int64) ([]byte, error) {
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit))
	if err != nil {
		return nil, r.connectionFailed(err)
	}
	return body, nil
}

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
