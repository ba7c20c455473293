package kube

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The verbs of a list and a watch, as in a Role.
const VerbList, VerbWatch = "list", "watch"

// Causes of errors without an error status. The cause of an error status is its code.
const (
	CauseUnreachable   = "unreachable"
	CauseTLS           = "tls"
	CauseCredentials   = "credentials"
	CauseInvalidAnswer = "invalid answer"
)

// An Error reports why a request failed. Its text is safe to log.
//
// If the API server answered with an error status, Err is an *apierrors.StatusError, so
// functions such as apierrors.IsForbidden work.
type Error struct {
	Verb, Resource string // of the request, as in a Role
	Cause          string // identifies errors that need a single log line
	Hint           string // the remedy, "" if the user cannot do anything
	Err            error
}

// Error returns a single line of at most about 400 bytes.
func (e *Error) Error() string { return e.Verb + " " + e.Resource + ": " + oneLine(e.Err.Error()) }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Outdated reports whether new credentials may fix the error: another token, client
// certificate or CA.
func (e *Error) Outdated() bool {
	return e.Cause == CauseTLS || e.Cause == CauseCredentials || apierrors.IsUnauthorized(e)
}

// networkError marks an error of the connection. RoundTrip errors without this mark come
// from client-go's authentication.
type networkError struct{ error }

func (e networkError) Unwrap() error { return e.error }

// sendFailed describes an error of RoundTrip.
func (r request) sendFailed(err error) *Error {
	if network := (networkError{}); errors.As(err, &network) {
		return r.connectionFailed(network.error)
	}
	return r.newError(CauseCredentials, err, "check that the token and the certificates of the ServiceAccount "+
		"are mounted in this container, valid and readable")
}

// connectionFailed describes a broken connection, or a failure to open a connection.
func (r request) connectionFailed(err error) *Error {
	const hint = "check that the API server runs and is reachable from this Pod (network policies, DNS, proxies)"
	var network *net.OpError
	switch {
	case isTLS(err):
		return r.newError(CauseTLS, fmt.Errorf("no connection: %w", err), "check that the CA certificate of this Pod "+
			"belongs to the API server, and that no proxy answers in its place")
	case errors.Is(err, context.DeadlineExceeded) && !(errors.As(err, &network) && network.Op == "dial"):
		return r.newError(CauseUnreachable, fmt.Errorf("the server does not answer: %w", err), hint)
	case strings.Contains(err.Error(), "malformed"):
		// net/http quotes the received bytes, and the error type is not exported.
		return r.newError(CauseUnreachable, errors.New("no connection: the answer is not HTTP"), hint)
	}
	return r.newError(CauseUnreachable, fmt.Errorf("no connection: %w", err), hint)
}

// isTLS reports whether the TLS handshake failed. A "remote error" is an alert from the
// server.
func isTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var network *net.OpError
	return errors.As(err, &certificate) || errors.As(err, &header) ||
		errors.As(err, &network) && network.Op == "remote error"
}

// invalidAnswer describes a body without a valid list or event. It omits the error of the
// decoder, which may quote the body.
func (r request) invalidAnswer(answer *http.Response) *Error {
	contentType := answer.Header.Get("Content-Type")
	if contentType == "" {
		contentType = "no content type"
	}
	err := fmt.Errorf("the answer (%.80q) does not come from a Kubernetes API server", contentType)
	return r.newError(CauseInvalidAnswer, err, "check for a proxy or a login page between this Pod and the API server")
}

// statusAnswer describes an answer with an error code. If the body is not a Status, it
// comes from a proxy, and the error omits it.
func (r request) statusAnswer(answer *http.Response) *Error {
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	var status metav1.Status
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" || status.Message == "" {
		status = metav1.Status{Message: "HTTP " + answer.Status}
	}
	status.Code = int32(answer.StatusCode)
	if seconds, err := strconv.ParseInt(answer.Header.Get("Retry-After"), 10, 32); err == nil && seconds > 0 {
		if status.Details == nil {
			status.Details = &metav1.StatusDetails{}
		}
		status.Details.RetryAfterSeconds = int32(seconds)
	}
	return r.statusError(status)
}

// statusError describes the Status of an answer or of a watch event.
func (r request) statusError(s metav1.Status) *Error {
	return r.newError(strconv.Itoa(int(s.Code)), &apierrors.StatusError{ErrStatus: s}, hintFor(int(s.Code)))
}

func (r request) newError(cause string, err error, hint string) *Error {
	return &Error{Verb: r.verb, Resource: r.resource, Cause: cause, Err: err, Hint: hint}
}

// hintFor returns the remedy for a status code.
func hintFor(code int) string {
	switch {
	case code == http.StatusUnauthorized:
		return "the API server rejects the token: it is expired, belongs to another cluster, or its ServiceAccount " +
			"was deleted; check that the token file is renewed"
	case code == http.StatusForbidden:
		return "add the rule to the Role of this Pod's ServiceAccount; `secret-sync rbac` prints the whole Role"
	case code == http.StatusNotFound:
		return "check that the namespace exists and that the address belongs to an API server"
	case code == http.StatusGone: // the next list is the remedy
		return ""
	case code == http.StatusTooManyRequests:
		return "the API server is overloaded; check its limits (API Priority and Fairness)"
	}
	return "see the log of the API server"
}

// oneLine shortens a message to a single line of at most 400 bytes.
func oneLine(message string) string {
	const limit = 400
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > limit {
		message = strings.ToValidUTF8(message[:limit], "") + "…"
	}
	return message
}
