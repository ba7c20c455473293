package watcher

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// onWatch limits a fault to watches. The api answers lists.
func onWatch(a answer) answer {
	return func(w http.ResponseWriter, r *http.Request) bool { return isWatch(r) && a(w, r) }
}

// body answers with 200 and a text.
func body(contentType, text string) answer {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", contentType)
		_, _ = fmt.Fprint(w, text)
		return true
	}
}

// openWatch opens a watch, sends a line, and keeps the watch open.
func openWatch(line string) answer {
	return onWatch(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintln(w, line)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
}

func withRetryAfter(a answer) answer {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "1")
		return a(w, r)
	}
}

func abort(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// badGateway is the answer of a proxy.
func badGateway(w http.ResponseWriter, _ *http.Request) bool {
	http.Error(w, "upstream: "+canary, http.StatusBadGateway)
	return true
}

// secretJSON is a Secret whose value must not appear in an error.
const secretJSON = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db","namespace":"ns"},` +
	`"data":{"password":"Q0FOQVJZLQ=="}}`

// unknownJSON is an object of an unknown kind.
var unknownJSON = strings.ReplaceAll(secretJSON, "Secret", canary)

// halfSecret is a truncated secretJSON.
var halfSecret = secretJSON[:len(secretJSON)-6]

// The answers of an API server to a refused request.
var (
	forbidden = errorAnswer(403, metav1.StatusReasonForbidden,
		`secrets "db" is forbidden: User "system:serviceaccount:ns:sa" cannot list`)
	expired = errorAnswer(410, metav1.StatusReasonExpired, "too old resource version")
	tooMany = withRetryAfter(errorAnswer(429, metav1.StatusReasonTooManyRequests, "too many requests"))
)

// errorEvent is the line of a watch with an error status.
func errorEvent(code int, message string) string {
	const format = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,` +
		`"message":%q}}`
	return fmt.Sprintf(format, code, message)
}

// invalid is part of the error for a body that does not come from an API server.
const invalid = "does not come from a Kubernetes API server"

// faults contains every kind of wrong answer.
var faults = []struct {
	name     string
	answer   answer
	want     []string // texts in the log line
	lists    bool     // lists succeed
	noRemedy bool     // the log line contains no hint
}{
	{name: "401", answer: errorAnswer(401, metav1.StatusReasonUnauthorized, "Unauthorized"),
		want: []string{"Unauthorized", "token"}},
	{name: "403", answer: forbidden, want: []string{"serviceaccount:ns:sa",
		`"rule":"{apiGroups: [\"\"], resources: [secrets], resourceNames: [\"db\"], verbs: [list, watch]}"`}},
	{name: "403 for the watch", answer: onWatch(forbidden), lists: true,
		want: []string{`resourceNames: [\"db\"], verbs: [watch]}`}},
	{name: "404", answer: errorAnswer(404, metav1.StatusReasonNotFound, "could not find the resource"),
		want: []string{"could not find", "namespace"}},
	{name: "410", answer: expired, want: []string{"too old"}, noRemedy: true},
	{name: "410 for the watch", answer: onWatch(expired), lists: true, want: []string{"too old"}, noRemedy: true},
	{name: "410 in an event", answer: openWatch(errorEvent(410, "too old")), lists: true,
		want: []string{"watch secrets: too old"}, noRemedy: true},
	{name: "429", answer: tooMany, want: []string{"too many", "overloaded"}},
	{name: "429 for the watch", answer: onWatch(tooMany), lists: true, want: []string{"too many"}},
	{name: "500", answer: errorAnswer(500, metav1.StatusReasonInternalError, "etcdserver: no leader"),
		want: []string{"no leader"}},
	{name: "500 in an event", answer: openWatch(errorEvent(500, "it broke")), lists: true, want: []string{"it broke"}},
	{name: "503", answer: withRetryAfter(errorAnswer(503, metav1.StatusReasonServiceUnavailable, "shutting down")),
		want: []string{"shutting down"}},
	{name: "502 of a proxy", answer: badGateway, want: []string{"HTTP 502 Bad Gateway"}},
	{name: "HTML", answer: body("text/html", "<html>log in "+canary), want: []string{"text/html", "proxy"}},
	{name: "HTML for the watch", answer: onWatch(body("text/html", "<html>log in "+canary)), lists: true,
		want: []string{"text/html"}},
	{name: "half an object", answer: body("application/json", halfSecret), want: []string{"application/json"}},
	{name: "half an event", answer: onWatch(body("application/json", `{"type":"MODIFIED","object":`+halfSecret)),
		lists: true,
		want:  []string{"repeatedly ends"}},
	{name: "YAML", answer: body("application/yaml", "a: ["+canary), want: []string{"application/yaml"}},
	{name: "unknown type of event", answer: openWatch(`{"type":"` + canary + `","object":` + secretJSON + `}`),
		lists: true, want: []string{invalid}},
	{name: "unknown kind", answer: body("application/json", unknownJSON), want: []string{invalid}},
	{name: "unknown kind in an event", answer: openWatch(`{"type":"MODIFIED","object":` + unknownJSON + `}`),
		lists: true,
		want:  []string{invalid}},
	{name: "Secret instead of a list", answer: body("application/json", secretJSON), want: []string{invalid}},
	{name: "list in an event", answer: openWatch(`{"type":"MODIFIED","object":{"kind":"SecretList",` +
		`"apiVersion":"v1"}}`),
		lists: true,
		want:  []string{invalid}},
	{name: "empty object", answer: body("application/json", "{}"), want: []string{invalid}},
	{name: "empty body", answer: body("application/json", ""), want: []string{invalid}},
	{name: "list without a version",
		answer: body("application/json", `{"kind":"SecretList","apiVersion":"v1",`+
			`"items":[]}`), want: []string{invalid}},
	{name: "reset", answer: abort, want: []string{"INTERNAL_ERROR"}},
	{name: "reset of the watch", answer: onWatch(abort), lists: true, want: []string{"INTERNAL_ERROR"}},
	{name: "watch ends at once", answer: onWatch(body("application/json", "")), lists: true,
		want: []string{"repeatedly ends"}},
}

// TestFault_atStart: without an answer to a list, the watch is not synced.
func TestFault_atStart(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.setSecret("db", "1", "", nil)
			a.fault(f.answer)
			stopped := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 && !r.up("secret/db") })
			stopped.stop()
			if got := r.Snapshot().Unsynced["secret/db"]; got == f.lists {
				t.Errorf("Unsynced: got %v, want %v", got, !f.lists)
			}
			a.recover(t, r, f.want, "1", f.noRemedy)
		})
	}
}

// TestFault_later: during a fault the Snapshot contains the last good version. If only
// watches fail, it follows the repeated lists.
func TestFault_later(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.setSecret("db", "1", "", nil)
			stopped := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
			stopped.waitValue("db", "1", 5*time.Second)
			r.waitValue("db", "1", 5*time.Second)
			r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
			a.fault(f.answer)
			a.endWatches()
			r.wait("down", 15*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 && !r.up("secret/db") })
			stopped.stop()
			if !f.lists {
				a.setSecret("db", "2", "", nil)
			}
			if got := r.value("db"); got != "1" {
				t.Errorf("during the fault: got %q, want the last good value", got)
			}
			a.setSecret("db", "3", "", nil)
			a.recover(t, r, f.want, "3", f.noRemedy)
		})
	}
}

// recover ends the fault. The Watcher recovers within the longest pause, and logs two
// lines in total, however often it retried.
func (a *api) recover(t *testing.T, r *running, want []string, value string, noRemedy bool) {
	t.Helper()
	attempts := len(a.received("list"))
	r.wait("another attempt", 8*time.Second, func() bool { return len(a.received("list")) > attempts })
	a.fault(nil)
	r.waitValue("db", value, 11*time.Second)
	r.wait("up", 15*time.Second, func() bool { return r.up("secret/db") })
	warns, infos := r.logs.level("WARN"), r.logs.level("INFO")
	if len(warns) != 1 || len(infos) != 1 {
		t.Fatalf("got %d warnings and %d infos, want 1 and 1:\n%s", len(warns), len(infos), r.logs)
	}
	for _, text := range append(want, `"watch":"secret/db"`) {
		if !strings.Contains(warns[0], text) {
			t.Errorf("%q is not in %s", text, warns[0])
		}
	}
	if hint := strings.Contains(warns[0], `"hint":"`); hint == noRemedy {
		t.Errorf("hint: got %v, want %v: %s", hint, !noRemedy, warns[0])
	}
	if !strings.Contains(infos[0], "recovered") {
		t.Errorf("got %s, want that the watch recovered", infos[0])
	}
	if got := r.Status()[0].LastContact; time.Since(got) > 15*time.Second {
		t.Errorf("last contact: got %v", got)
	}
	for _, query := range a.received("list") {
		if strings.Contains(query, "resourceVersion") || strings.Contains(query, "limit") {
			t.Errorf("not a consistent read in a single page: %s", query)
		}
	}
}
