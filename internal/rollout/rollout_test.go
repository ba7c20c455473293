package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// An apiServer answers requests for the Pods and for the Secret of a namespace. "" is an error 500.
type apiServer struct {
	pods   string   // the items of a list, in []
	half   bool     // whether another page of the list follows, which is an error 500
	events []string // of a watch: type and object, again and again
	secret string
}

// newTestWaiter returns a waiter for the Secret db in the namespaces of the servers: 0, 1 and so on.
func newTestWaiter(t *testing.T, r Rules, namespaces ...*apiServer) *waiter {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
		a := namespaces[path[0]-'0']
		body := a.secret
		if strings.HasSuffix(r.URL.Path, "/pods") && a.pods != "" {
			body = `{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"1"` +
				map[bool]string{true: `,"continue":"x"`}[a.half] + `},"items":` + a.pods + `}`
		}
		switch {
		case r.URL.Query().Get("watch") != "":
			for i := 0; i < len(a.events); i += 2 {
				_, _ = fmt.Fprintf(out, `{"type":%q,"object":%s}`, a.events[i], a.events[i+1])
			}
		case strings.HasSuffix(r.URL.Path, "/pods") && a.pods == "", body == "", r.URL.Query().Get("continue") != "":
			out.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(out, body)
		}
	}))
	t.Cleanup(server.Close)
	api, err := kube.NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	r.Secret = "db"
	o := Options{API: api, Rules: r, Direct: true, Progress: func(Result) {}}
	for i := range namespaces {
		o.Namespaces = append(o.Namespaces, fmt.Sprint(i))
	}
	return newWaiter(o)
}

// readerPod returns a Pod that reads the Secret at start, and was created long after its last change.
// fields are more fields of its metadata.
func readerPod(name, fields string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + name + `","uid":"` + name + `"` + fields +
		`},"spec":{"nodeName":"n",` +
		`"containers":[{"name":"job","env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"db"}}}]}]}}`
}

// TestWaiter_afterEnd: results that arrive after the end of the context are discarded. The end
// cancels the requests, and their errors would replace the reasons of the Pods.
func TestWaiter_afterEnd(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	w := newWaiter(Options{Rules: bySelector, Namespaces: []string{"shop"}, Direct: true})
	s := w.scopes[0]
	s.replace(toPointers([]pod{runningPod("a", "s")}), start)
	q := s.due(start, 1)[0]
	before := fmt.Sprint(w.result())
	end()
	w.update(ctx, func() { s.answer(q, nil, context.Cause(ctx), start, 0) })
	for _, h := range []*health{&s.list, &s.get, &s.proxy} {
		if h.note(ctx, context.Cause(ctx), start) || h.note(ctx, nil, start) {
			t.Error("a request counts as successful after the end")
		}
	}
	if after := fmt.Sprint(w.result()); after != before {
		t.Errorf("the result changed from %s to %s", before, after)
	}
}

// TestListAndWatch_deletedPod: a Pod that is being deleted counts until it is gone. Its app may
// use the old version for the whole grace period of the deletion.
func TestListAndWatch_deletedPod(t *testing.T) {
	running, deleting := readerPod("a", ""), readerPod("a", `,"deletionTimestamp":"2026-01-01T00:00:00Z"`)
	for _, c := range []struct {
		name, listed string
		events       []string
		counts       bool
	}{
		{"deleting in the list", deleting, nil, true},
		{"deleting in an event", running, []string{"MODIFIED", deleting}, true},
		{"gone", running, []string{"MODIFIED", deleting, "DELETED", deleting}, false},
	} {
		w := newTestWaiter(t, Rules{}, &apiServer{pods: "[" + c.listed + "]", events: c.events})
		if err := w.listAndWatch(t.Context(), w.scopes[0]); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		pods := w.result().Pods
		if len(pods) > 1 || (len(pods) == 1) != c.counts {
			t.Errorf("%s: got %+v, want that it counts: %v", c.name, pods, c.counts)
		}
		if c.counts && (len(pods) == 0 || pods[0].Done || pods[0].Final ||
			!strings.Contains(pods[0].Reason, "being deleted")) {
			t.Errorf("%s: got %+v, want to wait for its end", c.name, pods)
		}
	}
}

// TestWaiter_confirm: when all Pods are done, the wait lists the Pods and reads the Secret again. It
// succeeds only if both requests succeed in every namespace, and if they show nothing new.
func TestWaiter_confirm(t *testing.T) {
	const created, secret = `,"creationTimestamp":"2026-01-02T00:00:00Z"`, `{"apiVersion":"v1","kind":"Secret",` +
		`"metadata":{"uid":"u","resourceVersion":"1","managedFields":[{},{"time":"2026-01-01T00:00:00Z"},` +
		`{"time":"2026-01-01T12:00:00Z"},{"time":"2026-01-01T06:00:00Z"}]},"data":{"a":"Yg=="}}`
	a, b := readerPod("a", created), readerPod("b",
		`,"creationTimestamp":"2026-01-01T09:00:00Z"`) // b: before the last change
	for _, c := range []struct {
		name string
		last apiServer
		want bool
	}{
		{"nothing new", apiServer{pods: "[" + a + "]", secret: secret}, true},
		{"another Pod", apiServer{pods: "[" + a + "," + b + "]", secret: secret}, false},
		{"no list", apiServer{secret: secret}, false},
		{"half a list", apiServer{pods: "[" + a + "]", half: true, secret: secret}, false},
		{"no reading", apiServer{pods: "[" + a + "]"}, false},
		{"not a Secret", apiServer{pods: "[" + a + "]", secret: strings.Replace(secret, `"Secret"`, `"Pod"`, 1)},
			false},
		{"other data", apiServer{pods: "[" + a + "]", secret: strings.Replace(secret, "Yg==", "Yw==", 1)}, false},
		{"other metadata", apiServer{pods: "[" + a + "]", secret: strings.Replace(secret, `n":"1"`, `n":"2"`, 1)},
			false},
	} {
		for i := range 2 { // in the first or the second namespace
			first := apiServer{pods: "[" + a + "]", secret: secret}
			servers := []*apiServer{&first, new(first)}
			w := newTestWaiter(t, Rules{}, servers...)
			for _, s := range w.scopes {
				err := w.listAndWatch(t.Context(), s)
				if err != nil || !w.read(t.Context(), s) || !s.complete(time.Now()) {
					t.Fatalf("%s: %v, %+v", c.name, err, w.result())
				}
			}
			*servers[i], w.refreshed = c.last, time.Now()
			if done, err := w.evaluate(t.Context()); done != c.want || err != nil {
				t.Errorf("%s, namespace %d: got %v, %v, want %v", c.name, i, done, err, c.want)
			}
		}
	}
}

// TestScope_impossible: the reasons for which a wait ends without success, and the failures after
// which it can still succeed.
func TestScope_impossible(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "db")
	for _, c := range []struct {
		name   string
		change func(*scope)
		ends   bool
	}{
		{"nothing", func(*scope) {}, false},
		{"the Secret does not exist", func(s *scope) { s.get.final, s.history = gone, history{} }, true},
		{"the Secret was deleted", func(s *scope) { s.get.final = gone }, false},
		{"the Secret cannot be read", func(s *scope) { s.get.final = errLost }, true},
		{"the Pods cannot be listed", func(s *scope) { s.list.final = errLost }, true},
		{"queries are denied", func(s *scope) { s.proxy = health{denied: start, final: errLost} }, true},
		{"a Pod answers that nothing is at the path", func(s *scope) { s.proxy.final = errLost }, false},
		{"the data changed", func(s *scope) { s.history.ended = errors.New("changed") }, true},
		{"a Pod cannot become done", func(s *scope) { s.store(fresh(runningPod("b")), start) }, true},
	} {
		s := &scope{tally: newTestTally(t, bySelector, runningPod("a", "s"))}
		if c.change(s); (s.impossible() != nil) != c.ends {
			t.Errorf("%s: got %v", c.name, s.impossible())
		}
	}
}
