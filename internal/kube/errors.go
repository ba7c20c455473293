package kube

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

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
	CauseTooManyFiles  = "too many open files"
	CauseInvalidAnswer = "invalid answer"
)

// An Error reports why a request failed. Its text is safe to log. If the API server answered with an error status, Err
// is an *apierrors.StatusError, so apierrors.IsForbidden works.
type Error struct {
	Verb, Resource string // of the request, as in a Role
	Cause          string // identifies errors that need a single log line
	Hint           string // the remedy, "" if the user cannot do anything
	Err            error
}

// Error returns a single line of at most about 400 bytes.
func (e *Error) Error() string {
	const limit = 400
	message := strings.Join(strings.Fields(e.Err.Error()), " ")
	if len(message) > limit {
		message = strings.ToValidUTF8(message[:limit], "") + "…"
	}
	return e.Verb + " " + e.Resource + ": " + message
}

func (e *Error) Unwrap() error { return e.Err }

// outdated reports whether new credentials may fix the error: another token, client certificate or CA.
func (e *Error) outdated() bool {
	return e.Cause == CauseTLS || e.Cause == CauseCredentials || e.Cause == CauseTooManyFiles ||
		apierrors.IsUnauthorized(e)
}

// networkError marks an error of the connection. RoundTrip errors without this mark come from client-go's
// authentication.
type networkError struct{ error }

func (r request) failed(answer *http.Response, err error) *Error {
	network := networkError{}
	switch {
	case err == nil:
		return r.statusAnswer(answer)
	case errors.As(err, &network):
		return r.connectionFailed(network.error)
	}
	// client-go drops the cause of an unreadable token file, so another file tells whether descriptors are left.
	if f, openErr := os.Open(os.DevNull); openErr == nil {
		_ = f.Close()
	} else {
		err = fmt.Errorf("%v: %w", err, openErr)
	}
	return r.newError(CauseCredentials, err, "check that the token and the certificates of the ServiceAccount "+
		"are mounted in this container, valid and readable")
}

// connectionFailed describes a broken connection, or a failure to open a connection. A "remote error" is a TLS alert
// from the server.
func (r request) connectionFailed(err error) *Error {
	const hint = "check that the API server runs and is reachable from this Pod (network policies, DNS, proxies)"
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	network := &net.OpError{}
	_ = errors.As(err, &network)
	switch {
	case errors.As(err, &certificate), errors.As(err, &header), network.Op == "remote error":
		return r.newError(CauseTLS, fmt.Errorf("no connection: %w", err), "check that the CA certificate of this Pod "+
			"belongs to the API server, and that no proxy answers in its place")
	case errors.Is(err, context.DeadlineExceeded) && network.Op != "dial":
		err = fmt.Errorf("the server does not answer: %w", err)
	case strings.Contains(err.Error(), "malformed"):
		// net/http quotes the received bytes, and the error type is not exported.
		err = errors.New("no connection: the answer is not HTTP")
	default:
		err = fmt.Errorf("no connection: %w", err)
	}
	return r.newError(CauseUnreachable, err, hint)
}

const proxyHint = "check for a proxy or a login page between this Pod and the API server"

// invalidAnswer describes a body without a valid list or event. It omits the error of the decoder, which may quote the
// body.
func (r request) invalidAnswer(answer *http.Response) *Error {
	contentType := cmp.Or(answer.Header.Get("Content-Type"), "no content type")
	err := fmt.Errorf("the answer (%.80q) does not come from a Kubernetes API server", contentType)
	return r.newError(CauseInvalidAnswer, err, proxyHint)
}

// statusAnswer describes an answer with an error code. If the body is not a Status, it comes from a proxy, and the
// error omits it.
func (r request) statusAnswer(answer *http.Response) *Error {
	body, _ := r.read(answer, 1<<20)
	var status metav1.Status
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" || status.Message == "" {
		status = metav1.Status{Message: "HTTP " + answer.Status}
	}
	status.Code = int32(answer.StatusCode)
	if seconds, err := strconv.ParseInt(answer.Header.Get("Retry-After"), 10, 32); err == nil && seconds > 0 {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(seconds)}
	}
	return r.statusError(status)
}

// statusError describes the Status of an answer or of a watch event. The missing rule of a Role depends on the verb, so
// the cause of a 403 contains the verb.
func (r request) statusError(s metav1.Status) *Error {
	cause, hint := strconv.Itoa(int(s.Code)), "see the log of the API server"
	switch {
	case s.Code == http.StatusUnauthorized:
		hint = "the API server rejects the token: it is expired, has another audience, belongs to another cluster, " +
			"or its ServiceAccount was deleted; check that the token file is renewed, and remove audience from " +
			"its volume"
	case s.Code == http.StatusForbidden:
		cause += " for " + r.verb
		hint = "add the rule to the Role of this Pod's ServiceAccount; `secret-sync rbac` prints the whole Role"
	case s.Code == http.StatusNotFound:
		hint = "check that the namespace exists and that the address belongs to an API server"
	case s.Code == http.StatusGone: // the next list is the remedy
		hint = ""
	case s.Code == http.StatusTooManyRequests:
		hint = "the API server is overloaded; check its limits (API Priority and Fairness)"
	case s.Code == http.StatusMethodNotAllowed, s.Code/100 == 3:
		hint = proxyHint
	}
	return r.newError(cause, &apierrors.StatusError{ErrStatus: s}, hint)
}

func (r request) newError(cause string, err error, hint string) *Error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		cause = CauseTooManyFiles
		hint = "the process or the node has no file descriptor left; raise the limit of open files (ulimit -n)"
	}
	return &Error{Verb: r.verb, Resource: r.resource, Cause: cause, Err: err, Hint: hint}
}
