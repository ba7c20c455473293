package watcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const verbList, verbWatch = "list", "watch"

// Kinds of faults that something is done about; of an answer with an error the
// kind is its code.
const kindTLS, kindGarbage, kindUnauthorized, kindForbidden = "tls", "garbage", "401", "403"

// fault is why a watch does not work, in words that are safe to log: nothing of
// a body that could not be understood is in it, as it may hold a Secret.
type fault struct {
	kind       string // while it stays, nothing more is logged
	verb       string // of the request that failed
	text       string // what is wrong
	do         string // what to do about it
	retryAfter time.Duration
}

func (f *fault) Error() string { return f.verb + " secrets: " + f.text }

// same is whether there is nothing new to say. What a role lacks differs with
// the verb.
func (f *fault) same(was *fault) bool {
	return f.kind == was.kind && (f.kind != kindForbidden || f.verb == was.verb)
}

// outdated tells whether it may be what the client was made from: a certificate,
// a token.
func outdated(err error) bool {
	f, ok := err.(*fault)
	return ok && (f.kind == kindTLS || f.kind == kindUnauthorized)
}

// errEndsAtOnce is what no turn can tell by itself, only two of them.
var errEndsAtOnce = &fault{
	kind: "ends at once", verb: verbWatch,
	text: "the watch is opened and ends at once, again and again",
	do:   "look at what is between this Pod and the API server: a proxy with a very short timeout, or one that cannot stream",
}

// fault describes an error of a request or of a connection.
func (x *exchange) fault(verb string, err error) error {
	_, retryAfter, seen := x.seen()
	if seen != nil {
		return connectionFault(verb, seen)
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return statusFault(verb, status.Status(), retryAfter)
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if strings.Contains(err.Error(), "token") { // nothing was sent, for want of it
		return &fault{kind: "token", verb: verb, text: brief(err.Error()),
			do: "see that the token of the ServiceAccount is mounted in this container and can be read"}
	}
	return connectionFault(verb, err)
}

// undecoded describes an error that may come from reading a body.
func (x *exchange) undecoded(verb string, err error) error {
	_, _, seen := x.seen()
	status := apierrors.APIStatus(nil)
	if seen != nil || errors.As(err, &status) || isConnection(err) {
		return x.fault(verb, err)
	}
	return x.garbage(verb)
}

// garbage describes an answer that is no list or no event of Secrets. The
// decoder's error is left out: it may quote what it read.
func (x *exchange) garbage(verb string) error {
	contentType, _, _ := x.seen()
	if contentType == "" {
		contentType = "no content type"
	}
	return &fault{
		kind: kindGarbage, verb: verb,
		text: fmt.Sprintf("the answer (%.80q) is not what a Kubernetes API server gives", contentType),
		do:   "look at what is between this Pod and the API server: a proxy or a login page seems to answer for it",
	}
}

func isConnection(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func connectionFault(verb string, err error) error {
	f := &fault{verb: verb, kind: "unreachable", text: "no connection: " + brief(err.Error()),
		do: "see that the API server runs and can be reached from this Pod (network policies, DNS, proxies)"}
	var opened *net.OpError
	switch {
	case errors.As(err, &opened) && opened.Op == "dial": // may be a deadline, too
	case errors.Is(err, context.DeadlineExceeded):
		f.text = "the API server does not answer"
	case strings.Contains(f.text, "malformed"): // net/http quotes what it read
		f.text = "the answer is not HTTP"
	case strings.Contains(f.text, "x509:"), strings.Contains(f.text, "tls:"), strings.Contains(f.text, "HTTP response to HTTPS"):
		f.kind = kindTLS
		f.do = "see that the CA certificate given to this Pod is that of the API server, and that nothing on the way answers for it"
	}
	return f
}

// statusFault describes an error that the API server answered with, or that was
// in the stream of a watch.
func statusFault(verb string, s metav1.Status, retryAfter time.Duration) error {
	f := &fault{verb: verb, kind: fmt.Sprint(s.Code), text: brief(s.Message), retryAfter: retryAfter}
	if s.Details != nil {
		f.retryAfter = max(f.retryAfter, time.Duration(min(s.Details.RetryAfterSeconds, 3600))*time.Second)
		for _, cause := range s.Details.Causes {
			switch cause.Type {
			case metav1.CauseTypeUnexpectedServerResponse: // what a proxy said, not the server
				f.text = fmt.Sprintf("HTTP %d %s", s.Code, http.StatusText(int(s.Code)))
			case "ClientWatchDecoding": // of client-go: it could not read an event
				return (&exchange{contentType: "an event of the watch"}).garbage(verb)
			}
		}
	}
	f.do = adviceFor(int(s.Code))
	return f
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

// missing is the rule that the role lacks, as one line of YAML. Who may not
// watch may list: that comes first.
func (f *fault) missing(q query) string {
	if f.kind != kindForbidden {
		return ""
	}
	verbs := []string{verbList, verbWatch}
	if f.verb == verbWatch {
		verbs = verbs[1:]
	}
	var names []string
	if q.name != "" {
		names = []string{q.name}
	}
	return "{" + strings.Join(rule("secrets", names, verbs), ", ") + "}"
}

// brief keeps a message to one line of a sane length.
func brief(message string) string {
	const most = 400
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	return message
}

// strip drops what is not kept, before the object is passed on: annotations and
// managed fields can be larger than the data, and an event is held until the
// next one comes.
func strip(s *apiSecret) {
	s.ObjectMeta = metav1.ObjectMeta{
		Name: s.Name, Namespace: s.Namespace, UID: s.UID, ResourceVersion: s.ResourceVersion, Labels: s.Labels,
	}
}
