package webhook

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// retryAfterMax limits the delay in the Retry-After of a server. Without a limit, a
// typo in the server's configuration could delay notifications for a year.
const retryAfterMax = 5 * time.Minute

// result returns nil for a 2xx status.
func (t Target) result(response *http.Response) error {
	code := response.StatusCode
	if code >= 200 && code <= 299 {
		return nil
	}
	f := notifier.Failf(response.Status, "webhook %v: answered %s%s", t.URL, response.Status, t.advice(response))
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		f.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	}
	return f
}

// advice returns the likely cause of a failed call and its remedy, or "".
func (t Target) advice(response *http.Response) string {
	switch code := response.StatusCode; {
	case code >= 300 && code <= 399:
		location, err := response.Location()
		if err != nil {
			return ": redirects are not followed"
		}
		return " to " + redacted(location) + ": redirects are not followed; if this is a login page, set SECRETSYNC_WEBHOOK_TOKEN_FILE, " +
			"otherwise set SECRETSYNC_WEBHOOK_URL to this address"
	case code == http.StatusUnauthorized && t.TokenFile != "":
		return ": the server rejects the token in SECRETSYNC_WEBHOOK_TOKEN_FILE; check its audience"
	case code == http.StatusMethodNotAllowed:
		return ": the app, or a proxy before it, does not accept " + t.Method + " for this path; see SECRETSYNC_WEBHOOK_METHOD"
	case code == http.StatusTooManyRequests:
		return ": the app, or a proxy before it, limits the rate of calls"
	}
	return ""
}

// retryAfter parses seconds or a date (RFC 9110, 10.2.3). It returns 0 for any other
// value.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, retryAfterMax)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), retryAfterMax)
	}
	return 0
}

// errorKind returns the parts of err common to all attempts. It omits the local port,
// the time in a certificate error and the address of a name server.
func errorKind(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.Is(err, errHTTP2):
		return "HTTP/2"
	case errors.As(err, &dns):
		return "lookup"
	case errors.As(err, &certificate):
		return "certificate"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

var errHTTP2 = errors.New("the server speaks only HTTP/2 without TLS (h2c); use an https URL or enable HTTP/1.1 in the server")

// A plainConn is a connection without TLS. Its Read fails with errHTTP2 if the server
// starts with an HTTP/2 SETTINGS frame (RFC 9113, 3.4), which net/http would report as
// a malformed response.
type plainConn struct {
	net.Conn
	checked bool
}

func (c *plainConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	const settings = 4
	if !c.checked && n >= 4 && data[0] == 0 && data[3] == settings {
		return 0, errHTTP2
	}
	c.checked = c.checked || n > 0
	return n, err
}
