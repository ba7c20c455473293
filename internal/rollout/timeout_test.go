package rollout

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestFollow_slowList: a list that takes longer than the timeout succeeds after some attempts,
// because the timeout grows.
func TestFollow_slowList(t *testing.T) {
	watched := make(chan struct{}) // a watch follows a successful list
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			once.Do(func() { close(watched) })
			return
		}
		time.Sleep(30 * time.Millisecond)
		_, _ = io.WriteString(out, `{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}`)
	}))
	t.Cleanup(server.Close)
	api, err := kube.NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	w := newWaiter(Options{API: api, Rules: bySelector, Namespaces: []string{"shop"}, Direct: true,
		Progress: func(Result) {}})
	s := w.scopes[0]
	s.query.ListTimeout = 10 * time.Millisecond
	ctx, end := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { w.follow(ctx, s) })
	select {
	case <-watched:
	case <-time.After(testsupport.Patience):
		t.Error("no list succeeded")
	}
	end()
	following.Wait()
}
