package watcher

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// newWatches returns watches of the same Watcher, and their log.
func newWatches(n int) (watches []*watch, logs *journal) {
	logs = &journal{}
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprint("s", i)
	}
	w := newTestWatcher(&script{}, slog.New(slog.NewJSONHandler(logs, nil)), names...)
	query := kube.Query{Resource: kube.Secrets, Namespace: "ns"}
	for _, query.Name = range names {
		watches = append(watches, newWatch(w, query, labels.Everything()))
	}
	return watches, logs
}

// TestOutage_singleLine: an outage of 30 watches is a single line at its begin and a single
// line at its end. A retry adds no line.
func TestOutage_singleLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watches, logs := newWatches(30)
		for range 5 {
			for _, w := range watches {
				w.setDown(refused().(*kube.Error))
				time.Sleep(100 * time.Millisecond)
			}
		}
		for i, w := range watches {
			if got := len(logs.level("INFO")); got != 0 {
				t.Fatalf("%d watches are up: got %d lines, want none", i, got)
			}
			w.setUp()
		}
		warns, infos := logs.level("WARN"), logs.level("INFO")
		if len(warns) != 1 || len(infos) != 1 {
			t.Fatalf("got %d warnings and %d infos, want 1 and 1:\n%s", len(warns), len(infos), logs)
		}
		if want := `"duration":"15s","watches":30`; !strings.Contains(infos[0], want) {
			t.Errorf("got %s, want %s in it", infos[0], want)
		}
	})
}

// TestOutage_causes: each cause is an outage of its own. If a watch fails long after the
// line of its cause, it is logged again, because the line does not cover it.
func TestOutage_causes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watches, logs := newWatches(3)
		watches[0].setDown(refused().(*kube.Error))
		watches[1].setDown(errSilent)
		if got := len(logs.level("WARN")); got != 2 {
			t.Errorf("two causes: got %d warnings, want 2", got)
		}
		time.Sleep(logAgainAfter)
		watches[0].setDown(refused().(*kube.Error))
		if got := len(logs.level("WARN")); got != 2 {
			t.Errorf("a retry: got %d warnings, want still 2", got)
		}
		watches[2].setDown(refused().(*kube.Error))
		if got := len(logs.level("WARN")); got != 3 {
			t.Errorf("a watch that fails later: got %d warnings, want 3", got)
		}
	})
}

// TestOutage_rule: the missing rule covers all Secrets watched by name, because the line
// covers the watches of all. With more than ten Secrets it covers a single one.
func TestOutage_rule(t *testing.T) {
	for n, want := range map[int]string{
		1: `["s0"]`, 10: `["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"]`, 11: `["s0"]`,
	} {
		watches, logs := newWatches(n)
		for range 2 { // the first 403 is not logged
			watches[0].setDown(statusError(403, 0).(*kube.Error))
		}
		want = "resourceNames: " + strings.ReplaceAll(want, `"`, `\"`)
		if got := logs.level("WARN"); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%d Secrets: got %q, want %s in it", n, got, want)
		}
	}
}
