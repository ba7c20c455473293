package watcher

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
)

// feed is a source whose watch gives what a test sends.
type feed struct {
	script
	news chan event
}

func (s *feed) Watch(ctx context.Context, _ kube.Query, _ string) (events, error) {
	return func(yield func(event, error) bool) {
		for {
			select {
			case e := <-s.news:
				if !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				yield(event{}, ctx.Err())
				return
			}
		}
	}, nil
}

// A watch that gives an older version after a newer one puts back nothing: the Secret
// is read anew. One that gives the same version twice is well.
func TestAWatchThatGoesBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs, s := &journal{}, &feed{news: make(chan event)}
		w := newWatch(oneName("ns", "db"), s, &sync.Mutex{}, func() {}, slog.New(slog.NewJSONHandler(logs, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		defer func() { cancel(); <-done }()
		send := func(version, value string) string {
			o := object{metadata: metadata{Namespace: "ns", Name: "db", ResourceVersion: version}}
			o.Data = map[string]secret.Value{"k": secret.Value(value)}
			s.news <- event{Type: apiwatch.Modified, Object: o}
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return string(w.secrets["db"].Data["k"])
		}
		send("10", "newer")
		if got := send("10", "newer"); got != "newer" || len(s.lists) != 1 {
			t.Fatalf("got %q after %d lists, want the newer value after 1", got, len(s.lists))
		}
		if got := send("9", "older"); got != "newer" {
			t.Errorf("got %q, want the newer value", got)
		}
		time.Sleep(longestPause)
		synctest.Wait()
		if len(s.lists) != 2 || !strings.Contains(logs.String(), errBackwards.Text) {
			t.Errorf("%d lists, want 2, and the reason in the log:\n%s", len(s.lists), logs)
		}
	})
}
