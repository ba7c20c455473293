// Package kube asks a Kubernetes API server for Secrets, and creates objects
// there, with the configuration and the authentication of client-go.
//
// What it promises: a list is a consistent read. A dead connection is noticed
// within 20 seconds, and Close breaks every connection. Every error is an *Error:
// it reports what is wrong and what to do, and quotes nothing from a body that could
// not be decoded, because a Secret may be in it.
//
// It makes one attempt per call, and throttles nothing: a hundred watches start at
// once. It must not know what is done with the Secrets, when to try again, or what
// is logged.
package kube

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Client makes requests of one API server.
type Client struct {
	config *rest.Config
	server *url.URL

	mu          sync.Mutex
	transport   *transport
	credentials [sha256.Size]byte // what the files held when the transport was made
}

// NewClient makes a Client. It modifies no cfg and opens no connection.
func NewClient(cfg *rest.Config) (*Client, error) {
	disableKlog()
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cfg.Host, err)
	}
	c := &Client{config: rest.CopyConfig(cfg), server: server}
	return c, c.connect()
}

// connect makes the transport, and with it new connections.
func (c *Client) connect() error {
	credentials := hashCredentials(c.config)
	t, err := newTransport(c.config)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", c.config.Host, err)
	}
	c.transport, c.credentials = t, credentials
	return nil
}

func (c *Client) current() http.RoundTripper {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transport
}

// Renew reads the files of the token and the certificates again. If one of them
// changed, new requests use it, and requests under way are broken. To be called
// after an Error that Outdated reports: client-go itself reads a token again
// after a minute, a CA after five, and neither after a 401.
func (c *Client) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if hashCredentials(c.config) == c.credentials {
		return
	}
	old := c.transport
	if c.connect() == nil { // else the old transport stays: a file may be half replaced
		old.close()
	}
}

// hashCredentials hashes the files that a transport is made from. A file that
// cannot be read is reported when the transport is made.
func hashCredentials(cfg *rest.Config) [sha256.Size]byte {
	var all []byte
	for _, path := range []string{cfg.CAFile, cfg.BearerTokenFile, cfg.CertFile, cfg.KeyFile} {
		content, _ := os.ReadFile(path)
		all = append(append(all, content...), 0)
	}
	return sha256.Sum256(all)
}

// Close breaks all connections. Requests fail from then on.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.close()
}

// disableKlog turns off the logs of client-go. They bypass the program's logger,
// repeat each failed attempt, and some print whole objects: values of Secrets
// among them.
var disableKlog = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })
