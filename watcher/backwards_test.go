package watcher

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

// A watch that gives an older version after a newer one puts back nothing: the Secret
// is read anew. One that gives the same version twice is well.
func TestAWatchThatGoesBackwards(t *testing.T) {
	s := &script{}
	var events *apiwatch.RaceFreeFakeWatcher
	s.onOpen = func(_ context.Context, w *apiwatch.RaceFreeFakeWatcher) error { events = w; return nil }
	send := func(version, value string) {
		events.Modify(&kubeapi.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db", ResourceVersion: version},
			Data:       map[string][]byte{"k": []byte(value)},
		})
		synctest.Wait()
	}
	play(t, s, time.Minute, func(logs *journal, w *watch) {
		value := func() string { return string(w.state.snapshot().Secrets["db"].Data["k"]) }
		send("10", "newer")
		send("10", "newer")
		if got := value(); got != "newer" || len(s.lists) != 1 {
			t.Fatalf("got %q after %d lists, want the newer value after 1", got, len(s.lists))
		}
		send("9", "older")
		if got := value(); got != "newer" {
			t.Errorf("got %q, want the newer value", got)
		}
		time.Sleep(longestPause)
		synctest.Wait()
		if len(s.lists) != 2 || !strings.Contains(logs.String(), errBackwards.Text) {
			t.Errorf("%d lists, want 2, and the reason in the log:\n%s", len(s.lists), logs)
		}
	})
}
