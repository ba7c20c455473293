package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The verbs of requests, as in a Role.
const VerbList, VerbWatch = "list", "watch"

// Kinds of errors that are treated differently. When the API server answers with
// an error, the kind is its code.
const KindTLS, KindUnauthorized, KindForbidden = "tls", "401", "403"

// Error returns why a request failed, in words that are safe to log.
type Error struct {
	Kind       string // the same for as long as there is nothing new to tell
	Verb       string // of the request
	Text       string // what is wrong
	Advice     string // what to do about it
	RetryAfter time.Duration
}

func (e *Error) Error() string { return e.Verb + " secrets: " + e.Text }

// Outdated reports whether the cause may be what the client was made from: a
// certificate, a token.
func (e *Error) Outdated() bool { return e.Kind == KindTLS || e.Kind == KindUnauthorized }

// requestError describes an error of client-go, or of reading a body.
func requestError(verb string, err error) *Error {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return statusError(verb, status.Status())
	}
	if request := (*url.Error)(nil); errors.As(err, &request) {
		err = request.Err
	}
	if network := (*net.OpError)(nil); !errors.As(err, &network) && strings.Contains(err.Error(), "token") {
		return &Error{Kind: "token", Verb: verb, Text: oneLine(err.Error()), // nothing was sent
			Advice: "see that the token of the ServiceAccount is mounted in this container and can be read"}
	}
	return connectionError(verb, err)
}

func connectionError(verb string, err error) *Error {
	e := &Error{Verb: verb, Kind: "unreachable", Text: "no connection: " + oneLine(err.Error()),
		Advice: "see that the API server runs and can be reached from this Pod (network policies, DNS, proxies)"}
	network := (*net.OpError)(nil)
	switch {
	case errors.As(err, &network) && network.Op == "dial": // may be a deadline, too
	case errors.Is(err, context.DeadlineExceeded):
		e.Text = "the API server does not answer"
	case strings.Contains(e.Text, "malformed"): // net/http quotes what it read
		e.Text = "the answer is not HTTP"
	case strings.Contains(e.Text, "x509:"), strings.Contains(e.Text, "tls:"), strings.Contains(e.Text, "HTTP response to HTTPS"):
		e.Kind = KindTLS
		e.Advice = "see that the CA certificate given to this Pod is that of the API server, and that nothing on the way answers for it"
	}
	return e
}

// garbageError describes an answer that is no list or no event of Secrets. The
// decoder's error is left out: it may quote what it read.
func garbageError(verb, contentType string) *Error {
	if contentType == "" {
		contentType = "no content type"
	}
	return &Error{
		Kind: "garbage", Verb: verb,
		Text:   fmt.Sprintf("the answer (%.80q) is not what a Kubernetes API server gives", contentType),
		Advice: "look at what is between this Pod and the API server: a proxy or a login page seems to answer for it",
	}
}

// statusError describes an error that the API server answered with, or that came
// as an event of a watch.
func statusError(verb string, s metav1.Status) *Error {
	e := &Error{Verb: verb, Kind: fmt.Sprint(s.Code), Text: oneLine(s.Message), Advice: adviceFor(int(s.Code))}
	if s.Details == nil {
		return e
	}
	e.RetryAfter = time.Duration(min(max(s.Details.RetryAfterSeconds, 0), 3600)) * time.Second
	if text, ok := proxyText(s); ok {
		e.Text = text
	}
	return e
}

// proxyText is what to say in the place of a status's message when that is not the API
// server's, but the text of something on the way.
func proxyText(s metav1.Status) (text string, ok bool) {
	return fmt.Sprintf("HTTP %d %s", s.Code, http.StatusText(int(s.Code))), s.Details != nil &&
		slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool { return c.Type == metav1.CauseTypeUnexpectedServerResponse })
}

// withoutBody gives an error of client-go without the body of the answer, which it
// quotes when the API server did not write it.
func withoutBody(err error) error {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return err
	}
	s := status.Status()
	if text, ok := proxyText(s); ok {
		s.Message = text
		return &apierrors.StatusError{ErrStatus: s}
	}
	return err
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
		return "nothing: it is read anew"
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
