package watcher

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type answer = func(w http.ResponseWriter, r *http.Request) bool

// onWatch limits a fault to watches: lists are answered.
func onWatch(a answer) answer {
	return func(w http.ResponseWriter, r *http.Request) bool { return isWatch(r) && a(w, r) }
}

// body answers with 200.
func body(contentType, text string) answer {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", contentType)
		_, _ = fmt.Fprint(w, text)
		return true
	}
}

// then is a watch that is opened, has one event, and stays open.
func then(text string) answer {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintln(w, text)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
}

func withRetryAfter(a answer) answer {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "1")
		return a(w, r)
	}
}

func abort(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// secretJSON is a Secret with a value, where none should be.
const secretJSON = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db","namespace":"ns"},"data":{"password":"Q0FOQVJZLQ=="}}`

// faults is what a server can answer that is wrong. The snapshot in each:
// nothing and the watch in Unanswered when it is so from the start, the last
// good Secret when it comes later. Faults of the watch alone do not hold the
// list back, which is repeated: there the snapshot follows at the pace of that.
var faults = []struct {
	name     string
	answer   answer
	want     []string // in the one line of the log
	lists    bool     // lists are answered
	harmless bool     // an empty answer that a list may be
}{
	{name: "401", answer: status(401, metav1.StatusReasonUnauthorized, "Unauthorized"), want: []string{"Unauthorized", "token"}},
	{name: "403", answer: status(403, metav1.StatusReasonForbidden, `secrets "db" is forbidden: User "system:serviceaccount:ns:sa" cannot list`),
		want: []string{"serviceaccount:ns:sa", `"rule":"{apiGroups: [\"\"], resources: [secrets], resourceNames: [\"db\"], verbs: [list, watch]}"`}},
	{name: "403 for the watch", answer: onWatch(status(403, metav1.StatusReasonForbidden, "forbidden")), lists: true,
		want: []string{`resourceNames: [\"db\"], verbs: [watch]}`}},
	{name: "404", answer: status(404, metav1.StatusReasonNotFound, "the server could not find the requested resource"), want: []string{"could not find", "namespace"}},
	{name: "410", answer: status(410, metav1.StatusReasonExpired, "too old resource version"), want: []string{"too old"}},
	{name: "410 for the watch", answer: onWatch(status(410, metav1.StatusReasonExpired, "too old resource version")), lists: true, want: []string{"too old"}},
	{name: "410 in the stream", answer: onWatch(then(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired","message":"too old resource version"}}`)),
		lists: true, want: []string{"watch secrets: too old"}},
	{name: "429", answer: withRetryAfter(status(429, metav1.StatusReasonTooManyRequests, "too many requests")), want: []string{"too many", "overloaded"}},
	{name: "429 for the watch", answer: onWatch(withRetryAfter(status(429, metav1.StatusReasonTooManyRequests, "too many requests"))), lists: true, want: []string{"too many"}},
	{name: "500", answer: status(500, metav1.StatusReasonInternalError, "etcdserver: no leader"), want: []string{"no leader"}},
	{name: "500 in the stream", answer: onWatch(then(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"reason":"InternalError","message":"it broke"}}`)),
		lists: true, want: []string{"it broke"}},
	{name: "503", answer: withRetryAfter(status(503, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down")), want: []string{"shutting down"}},
	{name: "502 of a proxy", want: []string{"HTTP 502 Bad Gateway"}, answer: func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "upstream: "+canary, http.StatusBadGateway)
		return true
	}},
	{name: "HTML", answer: body("text/html", "<html>log in "+canary), want: []string{"text/html", "proxy"}},
	{name: "HTML for the watch", answer: onWatch(body("text/html", "<html>log in "+canary)), lists: true, want: []string{"text/html"}},
	{name: "half a JSON object", answer: body("application/json", secretJSON[:len(secretJSON)-6]), want: []string{"application/json"}},
	{name: "half a JSON event", answer: onWatch(body("application/json", `{"type":"MODIFIED","object":`+secretJSON[:len(secretJSON)-6])), lists: true, want: []string{"ends at once"}},
	{name: "YAML", answer: body("application/yaml", "a: ["+canary), want: []string{"application/yaml"}},
	{name: "a bad event", answer: onWatch(then(`{"type":"` + canary + `","object":` + secretJSON + `}`)), lists: true, want: []string{"not what a Kubernetes API server gives"}},
	{name: "an unknown object", answer: body("application/json", strings.ReplaceAll(secretJSON, "Secret", canary)), want: []string{"not what a Kubernetes API server gives"}},
	{name: "an unknown object in the stream", answer: onWatch(then(`{"type":"MODIFIED","object":` + strings.ReplaceAll(secretJSON, "Secret", canary) + `}`)), lists: true, want: []string{"not what a Kubernetes API server gives"}},
	{name: "a known object that is not asked for", answer: body("application/json", secretJSON), want: []string{"not what a Kubernetes API server gives"}},
	{name: "a list in the stream", answer: onWatch(then(`{"type":"MODIFIED","object":{"kind":"SecretList","apiVersion":"v1"}}`)), lists: true, want: []string{"not what a Kubernetes API server gives"}},
	{name: "an empty object", answer: body("application/json", "{}"), want: []string{"not what a Kubernetes API server gives"}},
	{name: "an empty answer", answer: body("application/json", ""), want: []string{"not what a Kubernetes API server gives"}},
	{name: "a list without a version", answer: body("application/json", `{"kind":"SecretList","apiVersion":"v1","items":[]}`), want: []string{"not what a Kubernetes API server gives"}},
	{name: "reset", answer: abort, want: []string{"INTERNAL_ERROR"}},
	{name: "reset in the stream", answer: onWatch(abort), lists: true, want: []string{"INTERNAL_ERROR"}},
	{name: "a watch that ends at once", answer: onWatch(body("application/json", "")), lists: true, want: []string{"ends at once, again and again"}},
}

func TestFaultFromTheStart(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.put("db", "1", "", nil)
			a.fault(f.answer)
			stopped := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 && !r.up("secret/db") })
			stopped.stop()
			if got := r.Snapshot().Unanswered["secret/db"]; got == f.lists {
				t.Errorf("Unanswered: got %v, want %v", got, !f.lists)
			}
			recovers(t, a, r, f.want, "1")
		})
	}
}

func TestFaultLater(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.put("db", "1", "", nil)
			stopped := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			stopped.has("db", "1", 5*time.Second)
			r.has("db", "1", 5*time.Second)
			r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
			a.fault(f.answer)
			a.endWatches()
			r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 && !r.up("secret/db") })
			stopped.stop()
			if !f.lists {
				a.put("db", "2", "", nil)
			}
			if got := r.value("db"); got != "1" {
				t.Errorf("during the fault: got %q, want the last good one", got)
			}
			a.put("db", "3", "", nil)
			recovers(t, a, r, f.want, "3")
		})
	}
}

// recovers ends the fault, and looks at how the Watcher comes back: within the
// longest pause, and with two lines in the log for all the tries.
func recovers(t *testing.T, a *api, r *running, want []string, value string) {
	t.Helper()
	tries := len(a.asked("list"))
	r.wait("some more tries", 8*time.Second, func() bool { return len(a.asked("list")) >= tries+1 })
	a.fault(nil)
	r.has("db", value, 11*time.Second)
	r.wait("up", 11*time.Second, func() bool { return r.up("secret/db") })
	warns, infos := r.logs.level("WARN"), r.logs.level("INFO")
	if len(warns) != 1 || len(infos) != 1 {
		t.Fatalf("got %d warnings and %d infos, want 1 and 1:\n%s", len(warns), len(infos), r.logs)
	}
	for _, text := range append(want, `"watch":"secret/db"`, `"do":"`) {
		if !strings.Contains(warns[0], text) {
			t.Errorf("%q is not in %s", text, warns[0])
		}
	}
	if !strings.Contains(infos[0], "up again") {
		t.Errorf("got %s, want that it is up again", infos[0])
	}
	if got := r.Status()[0].LastContact; time.Since(got) > 15*time.Second {
		t.Errorf("last contact: got %v", got)
	}
	for _, query := range a.asked("list") {
		if strings.Contains(query, "resourceVersion") || strings.Contains(query, "limit") {
			t.Errorf("a list is not a consistent read of all: %s", query)
		}
	}
}
