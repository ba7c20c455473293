// Package webhook notifies the app by an HTTP call.
//
// It promises one call per Notify, bounded in time, that counts as success for
// any 2xx; the CA and the token are read anew for each. No error or log line
// shows userinfo or query of a URL, or a token. It follows no redirect and takes
// no proxy from the environment. It must not know when to retry: a Retry-After is
// passed on.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// Target is which URL is called and how.
type Target struct {
	URL     *URL          // https:// with a CAFile, without a user with a TokenFile: the configuration checks both
	Method  string        // GET and HEAD are sent without a body
	Timeout time.Duration // for the whole call
	CAFile  string        // trust these certificates, and no others
	// TokenFile has a bearer token. Both files are read at each call, since they
	// are renewed as Secrets are.
	TokenFile string
}

const (
	// drainMax and drainTime bound the reading of an answer's body. Nothing in it
	// counts; closing it unread would reset the connection.
	drainMax  = 4 << 10
	drainTime = 100 * time.Millisecond
	// retryAfterMax bounds what a server may ask for: a typing error in its
	// configuration must not keep the app on an old password for a year.
	retryAfterMax = 5 * time.Minute
)

// Notify calls the URL with the changes as JSON.
func (t Target) Notify(ctx context.Context, changes notifier.Changes) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	request, requestErr := t.request(ctx, changes)
	transport, transportErr := t.transport()
	if err := errors.Join(requestErr, transportErr); err != nil {
		return notifier.Failf(err.Error(), "webhook %v: %w", t.URL, err)
	}
	response, err := transport.RoundTrip(request) // unlike a Client it follows no redirect
	switch {
	case err == nil:
		drain(response.Body)
		return t.result(response)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return notifier.Failf("timeout", "webhook %v: no answer within %v: %w", t.URL, t.Timeout, ctx.Err())
	}
	return notifier.Failf(callKind(err), "webhook %v: %w", t.URL, err)
}

func (t Target) request(ctx context.Context, changes notifier.Changes) (*http.Request, error) {
	body := changes.JSON()
	// A body of a GET means nothing (RFC 9110, 9.3.1), and some servers refuse it.
	if t.Method == http.MethodGet || t.Method == http.MethodHead {
		body = nil
	}
	request, err := http.NewRequestWithContext(ctx, t.Method, t.URL.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be made") // err has the URL in it
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

func readToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := bytes.TrimSpace(data)
	// net/http would refuse it too; this says which file, and none of the token.
	if len(token) == 0 || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("token file %q is empty or has characters that no token has", path)
	}
	return string(token), nil
}

// transport is made for one call: calls are hours apart, and a kept connection
// would keep the old CA. It has no Proxy: none from the environment.
func (t Target) transport() (*http.Transport, error) {
	transport := &http.Transport{
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if t.URL.socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", t.URL.socket)
		}
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
		return nil, fmt.Errorf("CA file %q has no certificate in PEM form", t.CAFile)
	}
	return transport, nil
}

// callKind is the error without what differs from try to try: the local port,
// the time in a certificate's error, a name server's address.
func callKind(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return "lookup"
	case errors.As(err, &certificate):
		return "certificate"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// result depends on the status alone.
func (t Target) result(response *http.Response) error {
	code := response.StatusCode
	switch {
	case code >= 200 && code <= 299:
		return nil
	case code >= 300 && code <= 399:
		to := "nowhere"
		if location, err := response.Location(); err == nil {
			to = shown(location)
		}
		return notifier.Failf(response.Status, "webhook %v: answered %s to %s: redirects are not followed, set SECRETSYNC_WEBHOOK_URL to where it is", t.URL, response.Status, to)
	}
	f := notifier.Failf(response.Status, "webhook %v: answered %s", t.URL, response.Status)
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		f.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	}
	return f
}

// retryAfter takes seconds or a date (RFC 9110, 10.2.3); 0 for anything else.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, retryAfterMax)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), retryAfterMax)
	}
	return 0
}

// drain reads the beginning of a body and closes it: one that never ends costs
// drainTime and not the success.
func drain(body io.ReadCloser) {
	stop := time.AfterFunc(drainTime, func() { body.Close() })
	defer stop.Stop()
	io.CopyN(io.Discard, body, drainMax)
	body.Close()
}
