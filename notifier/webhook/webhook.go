// Package webhook notifies the app by an HTTP request.
//
// Each Notify makes a single call, which succeeds with any 2xx status. The call reads
// the CA file and the token file again, follows no redirect and uses no proxy. Errors
// and log lines contain neither the userinfo and query of a URL nor a token. The caller
// decides when to retry; a Retry-After header is passed on to it.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// A Target is a URL to call. The configuration permits a CAFile with an https URL only,
// and a TokenFile with a URL without a user.
type Target struct {
	URL       *URL
	Method    string        // GET and HEAD requests have no body
	Timeout   time.Duration // see Notify
	CAFile    string        // trust only the certificates in this file
	TokenFile string        // send the bearer token in this file
	Logger    *slog.Logger
}

const (
	// lateFactor is the number of timeouts after which Notify abandons a call.
	lateFactor = 5
	// drainMax and drainTime limit how much of the response body is read. The content
	// is ignored, but closing an unread body would reset the connection.
	drainMax  = 4 << 10
	drainTime = 100 * time.Millisecond
)

var errTimeout = errors.New("timeout")

// Notify calls the URL with the changes as JSON.
//
// If the request is not sent within Timeout, Notify fails. If it is sent, the app may be
// reloading: a second call would make it reload again. Notify then waits for up to
// lateFactor timeouts, and a late 2xx status is a success.
func (t Target) Notify(ctx context.Context, changes notifier.Changes) error {
	ctx, stop := t.withTimeout(ctx)
	defer stop()
	request, requestErr := t.request(ctx, changes)
	transport, transportErr := t.transport()
	if err := errors.Join(requestErr, transportErr); err != nil {
		return notifier.Failf(err.Error(), "webhook %v: %w", t.URL, err)
	}
	response, err := transport.RoundTrip(request) // unlike http.Client, it follows no redirect
	switch {
	case err == nil:
		drain(response.Body)
		return t.result(response)
	case errors.Is(context.Cause(ctx), errTimeout):
		return notifier.Failf("timeout", "webhook %v: no answer within %v (SECRETSYNC_WEBHOOK_TIMEOUT): %w",
			t.URL, t.Timeout, context.DeadlineExceeded)
	}
	return notifier.Failf(errorKind(err), "webhook %v: %w", t.URL, err)
}

// withTimeout returns a context with the cancellation described at Notify. The caller
// must call stop.
func (t Target) withTimeout(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) { sent.Store(info.Err == nil) }}
	first := time.AfterFunc(t.Timeout, func() {
		if !sent.Load() {
			cancel(errTimeout)
			return
		}
		t.Logger.Warn("webhook is slower than SECRETSYNC_WEBHOOK_TIMEOUT, still waiting for the answer",
			"url", t.URL, "timeout", t.Timeout.String(), "until", (lateFactor * t.Timeout).String())
	})
	last := time.AfterFunc(lateFactor*t.Timeout, func() { cancel(errTimeout) })
	return httptrace.WithClientTrace(ctx, trace), func() { first.Stop(); last.Stop(); cancel(nil) }
}

func (t Target) request(ctx context.Context, changes notifier.Changes) (*http.Request, error) {
	body := changes.JSON()
	// The body of a GET request is meaningless (RFC 9110, 9.3.1), and some servers
	// reject it.
	if t.Method == http.MethodGet || t.Method == http.MethodHead {
		body = nil
	}
	request, err := http.NewRequestWithContext(ctx, t.Method, t.URL.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("cannot create the request") // err contains the URL
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", "secret-sync")
	if user := t.URL.url.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	if t.TokenFile != "" {
		var token string
		token, err = readToken(t.TokenFile)
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return request, err
}

// readToken returns the token in the file. net/http would reject an invalid token as
// well, but its error does not name the file.
func readToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := bytes.TrimSpace(data)
	if len(token) == 0 || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("token file %q is empty or contains characters that are not allowed in a token", path)
	}
	return string(token), nil
}

// transport returns a transport for a single call. A shared transport would keep
// connections verified with an old CA. Proxy is nil, so the proxy variables of the
// environment have no effect.
func (t Target) transport() (*http.Transport, error) {
	transport := &http.Transport{
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true, // a TLSClientConfig disables HTTP/2 otherwise
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DialContext:            t.dial,
	}
	if t.CAFile == "" {
		return transport, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %q contains no PEM certificate", t.CAFile)
	}
	return transport, nil
}

func (t Target) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if t.URL.socket != "" {
		network, address = "unix", t.URL.socket
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil || t.URL.IsTLS() {
		return conn, err
	}
	return &plainConn{Conn: conn}, nil
}

// drain reads the beginning of a body and closes it. A body without an end costs
// drainTime and does not affect the result.
func drain(body io.ReadCloser) {
	stop := time.AfterFunc(drainTime, func() { body.Close() })
	defer stop.Stop()
	io.CopyN(io.Discard, body, drainMax)
	body.Close()
}
