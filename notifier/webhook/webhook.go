// Package webhook notifies the app by an HTTP request.
//
// Each Notify makes a single call, which follows no redirect and uses no proxy. Errors and log lines contain
// neither the userinfo and query of a URL nor a token.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// A Target is a URL to call. A CAFile requires an https URL, and a TokenFile a URL without a user.
type Target struct {
	URL       *URL
	Method    string        // GET and HEAD requests have no body
	Timeout   time.Duration // of each step of a call, see Notify
	CAFile    string        // trust only the certificates in this file; each call reads it again
	TokenFile string        // send the bearer token in this file; each call reads it again
	Logger    *slog.Logger
}

const (
	lateFactor    = 5               // timeouts after which Notify abandons a call
	retryAfterMax = 5 * time.Minute // the Retry-After of a server may contain a typo
	drainMax      = 4 << 10         // of the response body: closing it unread would reset the connection
	drainTime     = 100 * time.Millisecond
)

var errHTTP2 = errors.New("the server speaks only HTTP/2 without TLS (h2c); " +
	"use an https URL or enable HTTP/1.1 in the server")

// Notify calls the URL with the changes as JSON. Any 2xx status is a success. Timeout limits the time to connect, and
// the TLS handshake. Later, the app may be reloading: a second call would make it reload again. Notify therefore waits
// for the answer for up to lateFactor timeouts.
func (t Target) Notify(ctx context.Context, changes notifier.Changes) error {
	ctx, cancel := context.WithTimeout(ctx, lateFactor*t.Timeout)
	defer cancel()
	began := time.Now()
	request, requestErr := t.request(ctx, changes)
	transport, transportErr := t.transport()
	if err := errors.Join(requestErr, transportErr); err != nil {
		return t.failed(notifier.AsFailure(err).Kind, err)
	}
	response, err := transport.RoundTrip(request) // unlike http.Client, it follows no redirect
	if took := time.Since(began); err == nil && took > t.Timeout {
		t.Logger.Warn("webhook is slower than SECRETSYNC_WEBHOOK_TIMEOUT",
			"url", fmt.Sprint(t.URL), "timeout", t.Timeout.String(), "duration", took.String())
	}
	netErr, isNetErr := errors.AsType[net.Error](err)
	switch {
	case err == nil:
		defer time.AfterFunc(drainTime, func() { response.Body.Close() }).Stop()
		io.CopyN(io.Discard, response.Body, drainMax)
		response.Body.Close()
		return t.result(response)
	case isNetErr && netErr.Timeout() && !errors.Is(err, syscall.EAGAIN): // EAGAIN: the queue of a Unix socket is full
		return notifier.Failf("timeout", "webhook %v: no answer within %v (SECRETSYNC_WEBHOOK_TIMEOUT): %w",
			t.URL, t.Timeout, err)
	}
	return t.failed(errorKind(err), err)
}

// failed returns the error of a call without an answer.
func (t Target) failed(kind string, err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		err = fmt.Errorf("%w; the process or the node has no file descriptor left: raise the limit (ulimit -n)", err)
	}
	return notifier.Failf(kind, "webhook %v: %w", t.URL, err)
}

func (t Target) request(ctx context.Context, changes notifier.Changes) (*http.Request, error) {
	body, _ := json.Marshal(changes) // names and numbers always encode
	if t.Method == http.MethodGet || t.Method == http.MethodHead {
		body = nil // some servers reject a body (RFC 9110, 9.3.1)
	}
	request, err := http.NewRequestWithContext(ctx, t.Method, t.URL.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("cannot create the request") // err contains the URL
	}
	request.Header.Set("User-Agent", "secret-sync")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if user := t.URL.url.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	if t.TokenFile == "" {
		return request, nil
	}
	data, err := os.ReadFile(t.TokenFile)
	if err != nil {
		return nil, notifier.Failf("token file", "token file: %w", err)
	}
	token := bytes.TrimSpace(data) // net/http would reject an invalid token without the name of the file
	if len(token) == 0 || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, notifier.Failf("token", "token file %q is empty or contains characters not allowed in a token",
			t.TokenFile)
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	return request, nil
}

// transport returns a transport for a single call. A shared transport would keep connections verified with
// an old CA. Proxy is nil, so the proxy variables of the environment have no effect.
func (t Target) transport() (*http.Transport, error) {
	transport := &http.Transport{
		DisableKeepAlives:      true,
		TLSHandshakeTimeout:    t.Timeout,
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
		return nil, notifier.Failf("CA file", "CA file: %w", err)
	}
	roots := x509.NewCertPool()
	transport.TLSClientConfig.RootCAs = roots
	if !roots.AppendCertsFromPEM(pem) {
		return nil, notifier.Failf("CA", "CA file %q contains no PEM certificate", t.CAFile)
	}
	return transport, nil
}

func (t Target) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if t.URL.socket != "" {
		network, address = "unix", t.URL.socket
	}
	conn, err := (&net.Dialer{Timeout: t.Timeout}).DialContext(ctx, network, address)
	return &connection{Conn: conn}, err
}

// A connection fails if the server starts without TLS and with an HTTP/2 SETTINGS frame (RFC 9113, 3.4), which
// net/http reports as a malformed response.
type connection struct {
	net.Conn
	checked bool
}

func (c *connection) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	if !c.checked && n >= 4 && data[0] == 0 && data[3] == 4 {
		return 0, errHTTP2
	}
	c.checked = true
	return n, err
}

// result returns nil for a 2xx status. Otherwise its error names the likely cause and the remedy.
func (t Target) result(response *http.Response) error {
	code, advice := response.StatusCode, ""
	switch {
	case code >= 200 && code <= 299:
		return nil
	case code >= 300 && code <= 399:
		advice = ": redirects are not followed"
		if location, err := response.Location(); err == nil {
			advice = " to " + redacted(location) + advice + "; if this is a login page, " +
				"set SECRETSYNC_WEBHOOK_TOKEN_FILE, otherwise set SECRETSYNC_WEBHOOK_URL to this address"
		}
	case code == http.StatusUnauthorized && t.TokenFile != "":
		advice = ": the server rejects the token in SECRETSYNC_WEBHOOK_TOKEN_FILE; check its audience"
	case code == http.StatusMethodNotAllowed:
		advice = ": the app, or a proxy before it, does not accept " + t.Method + " for this path; " +
			"see SECRETSYNC_WEBHOOK_METHOD"
	case code == http.StatusTooManyRequests:
		advice = ": the app, or a proxy before it, limits the rate of calls"
	}
	f := notifier.Failf(fmt.Sprint("HTTP ", code), "webhook %v: answered %s%s", t.URL, response.Status, advice)
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		f.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	}
	return f
}

// retryAfter parses seconds or a date (RFC 9110, 10.2.3). It returns 0 for any other value.
func retryAfter(value string, now time.Time) (delay time.Duration) {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		delay = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		delay = date.Sub(now)
	}
	return min(max(delay, 0), retryAfterMax)
}

// errorKind returns the kind of err, common to all attempts: without addresses, times and names.
func errorKind(err error) string {
	_, lookup := errors.AsType[*net.DNSError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	errno, isErrno := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, errHTTP2):
		return "HTTP/2"
	case lookup:
		return "lookup"
	case certificate:
		return "certificate"
	case isOp && isErrno:
		return op.Op + ": " + errno.Error()
	case isOp:
		return op.Op
	case errors.Is(err, io.EOF):
		return "EOF"
	}
	return "other"
}
