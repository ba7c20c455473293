package rollout

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/kube"
)

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
	const format = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","uid":"a"%s},"spec":{"nodeName":"n",` +
		`"containers":[{"name":"job","env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"db"}}}]}]}}`
	running, deleting := fmt.Sprintf(format, ""), fmt.Sprintf(format, `,"deletionTimestamp":"2026-01-01T00:00:00Z"`)
	for _, c := range []struct {
		name, listed string
		events       []string // type and object
		counts       bool
	}{
		{"deleting in the list", deleting, nil, true},
		{"deleting in an event", running, []string{"MODIFIED", deleting}, true},
		{"gone", running, []string{"MODIFIED", deleting, "DELETED", deleting}, false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("watch") == "" {
				_, _ = fmt.Fprintf(out, `{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"1"},"items":[%s]}`, c.listed)
			}
			for i := 0; i < len(c.events) && r.URL.Query().Get("watch") != ""; i += 2 {
				_, _ = fmt.Fprintf(out, `{"type":%q,"object":%s}`, c.events[i], c.events[i+1])
			}
		}))
		api, err := kube.NewClient(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		w := newWaiter(Options{API: api, Rules: Rules{Secret: "db"}, Namespaces: []string{"shop"}})
		if err := w.listAndWatch(t.Context(), w.scopes[0]); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		pods := w.result().Pods
		if len(pods) > 1 || (len(pods) == 1) != c.counts {
			t.Errorf("%s: got %+v, want that it counts: %v", c.name, pods, c.counts)
		}
		if c.counts && (len(pods) == 0 || pods[0].Done || pods[0].Final || !strings.Contains(pods[0].Reason, "being deleted")) {
			t.Errorf("%s: got %+v, want to wait for its end", c.name, pods)
		}
		api.Close()
		server.Close()
	}
}
