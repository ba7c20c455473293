package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The verbs of requests, as in a Role.
const VerbList, VerbWatch = "list", "watch"

// Kinds of errors that are treated differently. When the API server answers with
// an error, the kind is its code.
const KindTLS, KindUnauthorized, KindForbidden = "tls", "401", "403"

// Error returns why a request failed, in words that are safe to log.
type Error struct {
	Kind           string // the same for as long as there is nothing new to log
	Verb, Resource string // of the request
	Text           string // what is wrong
	Advice         string // what to do about it
	RetryAfter     time.Duration
}

func (e *Error) Error() string { return e.Verb + " " + e.Resource + ": " + e.Text }

// Outdated reports whether the cause may be what the client was made from: a
// certificate, a token.
func (e *Error) Outdated() bool { return e.Kind == KindTLS || e.Kind == KindUnauthorized }

// Status lets apierrors.ReasonForError tell the kind.
func (e *Error) Status() metav1.Status { return metav1.Status{Reason: metav1.StatusReason(e.Kind)} }

// failed describes an error of a connection, also one in the middle of a body.
func (r request) failed(err error) *Error {
	e := &Error{Verb: r.verb, Resource: r.resource, Kind: "unreachable", Text: "no connection: " + oneLine(err.Error()),
		Advice: "see that the API server runs and can be reached from this Pod (network policies, DNS, proxies)"}
	network := (*net.OpError)(nil)
	switch isNetwork := errors.As(err, &network); {
	case isNetwork && network.Op == "dial": // may be a deadline, too
	case !isNetwork && strings.Contains(e.Text, "token"): // nothing was sent
		e.Kind, e.Text = "token", oneLine(err.Error())
		e.Advice = "see that the token of the ServiceAccount is mounted in this container and can be read"
	case errors.Is(err, context.DeadlineExceeded):
		e.Text = "the server does not answer"
	case strings.Contains(e.Text, "malformed"): // net/http quotes what it read
		e.Text = "the answer is not HTTP"
	case strings.Contains(e.Text, "x509:"), strings.Contains(e.Text, "tls:"), strings.Contains(e.Text, "HTTP response to HTTPS"):
		e.Kind = KindTLS
		e.Advice = "see that the CA certificate given to this Pod is that of the API server, and that nothing on the way answers for it"
	}
	return e
}

// garbage describes an answer that is no list or no event of Secrets. The decoder's
// error is left out: it may quote what it read.
func (r request) garbage(answer *http.Response) *Error {
	contentType := answer.Header.Get("Content-Type")
	if contentType == "" {
		contentType = "no content type"
	}
	return &Error{
		Kind: "garbage", Verb: r.verb, Resource: r.resource,
		Text:   fmt.Sprintf("the answer (%.80q) is not what a Kubernetes API server gives", contentType),
		Advice: "look at what is between this Pod and the API server: a proxy or a login page seems to answer for it",
	}
}

// answered describes an answer with an error code. The text of one that is not
// a Status is a proxy's, and left out.
func (r request) answered(answer *http.Response) *Error {
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	var status metav1.Status
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" || status.Message == "" {
		status.Message = "HTTP " + answer.Status
	}
	status.Code = int32(answer.StatusCode)
	e := r.refused(status)
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = retryAfter(seconds)
	}
	return e
}

// refused describes the Status of an answer, or of an event of a watch.
func (r request) refused(s metav1.Status) *Error {
	e := &Error{Verb: r.verb, Resource: r.resource, Kind: fmt.Sprint(s.Code), Text: oneLine(s.Message), Advice: adviceFor(int(s.Code))}
	if s.Details != nil {
		e.RetryAfter = retryAfter(int(s.Details.RetryAfterSeconds))
	}
	return e
}

func retryAfter(seconds int) time.Duration {
	return time.Duration(min(max(seconds, 0), 3600)) * time.Second
}

func adviceFor(code int) string {
	switch code {
	case http.StatusUnauthorized:
		return "the token is not accepted (expired, of another cluster, or its ServiceAccount was deleted); it is read again for each try: see that the token file is renewed"
	case http.StatusForbidden:
		return "add the rule to the Role of this Pod's ServiceAccount; `secret-sync rbac` prints all that is needed"
	case http.StatusNotFound:
		return "see that the namespace exists and that the address is that of an API server"
	case http.StatusGone:
		return "nothing: the Secrets are listed again"
	case http.StatusTooManyRequests:
		return "nothing: it is tried again when the API server asks for it; it is overloaded"
	}
	if code >= http.StatusInternalServerError {
		return "nothing here: it is tried again; see the API server's own log"
	}
	return "see the API server's log"
}

// oneLine keeps a message to one line of at most 400 bytes.
func oneLine(message string) string {
	const most = 400
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	return message
}
