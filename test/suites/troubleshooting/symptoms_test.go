//go:build programs

package troubleshooting

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

var writing sync.Mutex // held while the page is written

// A symptom is a section of the page. Its conditions do not depend on the wording of messages,
// so after a change of messages -update is sufficient.
type symptom struct {
	title   string
	users   bool     // requires processes of other users
	keys    []string // lines at level info with one of these keys are quoted
	metrics []string
	events  int // the number of Events of type Warning
	// run brings a sidecar into this state and waits until its output is complete.
	run func(t *testing.T) *pod
}

// says returns the block for the page.
func (s symptom) says(t *testing.T) string {
	p := s.run(t)
	testsupport.Eventually(t, "the Events", func() error {
		if got := p.events(); len(got) != s.events {
			return fmt.Errorf("Events %q, want %d", got, s.events)
		}
		return nil
	})
	var b strings.Builder
	for _, part := range []struct {
		kind  string
		lines []string
	}{{"log", p.log(s.keys)}, {"metric", p.series(s.metrics)}, {"event", p.events()}} {
		for _, line := range part.lines {
			fmt.Fprintf(&b, "%-7s %s\n", part.kind, p.masked(line))
		}
	}
	return b.String()
}

var symptoms = []symptom{
	{title: "The API server answers 403", metrics: []string{"secretsync_watch_up"}, run: forbidden},
	{
		title:   "A watch is stale",
		metrics: []string{"secretsync_watch_up", "secretsync_last_contact_timestamp_seconds"},
		run:     away,
	},
	{
		title:   "The files do not appear",
		keys:    []string{"waiting"},
		metrics: []string{"secretsync_generation", "secretsync_secret_present"},
		run:     missing,
	},
	{
		title:   "The files do not change",
		keys:    []string{"level"},
		metrics: []string{"secretsync_secret_present", "secretsync_watch_up"},
		run:     deleted,
	},
	{
		title:   "The files change, but not in a subPath mount",
		keys:    []string{"changed"},
		metrics: []string{"secretsync_generation"},
		run:     subPath,
	},
	{title: "A key changes at every refresh", keys: []string{"key"}, metrics: []string{"secretsync_generation"},
		run: refreshed},
	{title: "A Secret lacks a key", metrics: []string{"secretsync_secret_refused"}, events: 1, run: lacksKey},
	{title: "The volume is mounted read-only", run: readOnly},
	{title: "The volume is full", metrics: []string{"secretsync_publish_failures_total"}, run: full},
	{
		title:   "The files belong to another UID",
		users:   true,
		metrics: []string{"secretsync_publish_failures_total"},
		run:     othersFiles,
	},
	{title: "The app runs as another UID", users: true, metrics: notifyMetrics, events: 1, run: othersProcess},
	{title: "No process has the name", metrics: notifyMetrics, events: 1, run: noProcess},
	{title: "The process namespace is not shared", metrics: notifyMetrics, events: 1, run: notShared},
	{title: "The app has no handler for the signal", metrics: notifyMetrics, events: 1, run: noHandler},
	{title: "The signal kills the app", metrics: notifyMetrics, events: 2, run: killed},
	{title: "The webhook does not answer", metrics: notifyMetrics, events: 1, run: hookDown},
	{
		title:   "The sidecar is out of memory",
		keys:    []string{"version"},
		metrics: []string{"secretsync_publishes_total"},
		run:     outOfMemory,
	},
}

var notifyMetrics = []string{"secretsync_notify_pending", "secretsync_notifications_total"}

const pending = `secretsync_notify_pending{target="%s"} 1`
