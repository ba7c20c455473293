// Package kube is a small client of the Kubernetes API server. It lists, watches, gets and
// creates objects of the core API group. It also prints the RBAC rules for these requests.
//
// Configuration, TLS and authentication come from client-go. Requests are plain
// net/http with JSON. The section "Why not an informer" of docs/design.md contains the
// reasons and the figures.
//
// A list is a consistent read. The client detects a dead connection within 20 seconds,
// and Close breaks every connection. Every failed request returns an *Error. No error
// quotes a body, because a body may contain a Secret. The only exception is the message
// of a metav1.Status.
//
// A call makes a single attempt, and no rate limit applies. Retries, their pauses and
// logging belong to the caller.
package kube

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// A Client sends requests to an API server. Its methods are safe for concurrent use.
type Client struct {
	config *rest.Config
	server *url.URL

	mu          sync.Mutex
	transport   *transport
	credentials [sha256.Size]byte // hash of the files that transport was made from
}

// NewClient returns a Client for cfg. It does not modify cfg and opens no connection.
//
// An invalid file with a token or a certificate is not an error of NewClient: the kubelet
// may replace it at any time. Requests fail until Renew reads a valid file.
func NewClient(cfg *rest.Config) (*Client, error) {
	disableKlog()
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("create a client for %q: %w", cfg.Host, err)
	}
	c := &Client{config: rest.CopyConfig(cfg), server: server}
	c.credentials = hashCredentials(c.config)
	if c.transport, err = newTransport(c.config); err != nil {
		if !hasFiles(c.config) {
			return nil, fmt.Errorf("create a client for %q: %w", cfg.Host, err)
		}
		c.transport = failingTransport(err)
	}
	return c, nil
}

// credentialFiles returns the paths of the files for a transport.
func credentialFiles(cfg *rest.Config) []string {
	return []string{cfg.CAFile, cfg.BearerTokenFile, cfg.CertFile, cfg.KeyFile}
}

func hasFiles(cfg *rest.Config) bool { return strings.Join(credentialFiles(cfg), "") != "" }

func (c *Client) current() http.RoundTripper {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transport
}

// Renew reads the token and the certificates again. If a file changed, Renew breaks all
// connections, and new requests use the new files. Callers call Renew after an error for
// which Outdated returns true: client-go reads a token again after a minute, a CA after five
// minutes, and neither after a 401.
func (c *Client) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	credentials := hashCredentials(c.config)
	if credentials == c.credentials {
		return
	}
	renewed, err := newTransport(c.config)
	if err != nil {
		return // a file may be incomplete; the next Renew reads it again
	}
	c.transport.close()
	c.transport, c.credentials = renewed, credentials
}

// hashCredentials hashes the credential files. It ignores read errors, because
// newTransport reports them.
func hashCredentials(cfg *rest.Config) [sha256.Size]byte {
	var all []byte
	for _, path := range credentialFiles(cfg) {
		content, _ := os.ReadFile(path)
		all = append(append(all, content...), 0)
	}
	return sha256.Sum256(all)
}

// Close breaks all connections. Later requests fail.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.close()
}

// disableKlog turns off the logs of client-go. They bypass the program's logger, repeat
// each failed attempt, and may print whole objects with the values of Secrets.
var disableKlog = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })
