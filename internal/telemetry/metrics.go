// Package telemetry says how the program is: health and metrics over HTTP,
// pprof, and Events on the Pod. It sees names of Secrets, never values.
package telemetry

import (
	"maps"
	"sync"
	"time"
)

// buckets are the upper bounds of the publish duration's histogram, in seconds:
// a memory volume takes well below a millisecond, a slow disk with its fsyncs
// some hundreds.
var buckets = [...]float64{
	.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5,
}

// Metrics is what the pipeline counts. The zero value is ready to use; all
// methods are safe for concurrent use.
type Metrics struct {
	mu    sync.Mutex
	state state
}

// state is what one scrape shows, all of one moment.
type state struct {
	generation  uint64
	publishes   uint64
	repairs     uint64
	lastPublish time.Time
	failures    map[string]uint64        // reason → count
	refused     map[string]string        // secret → reason
	present     map[string]bool          // secret → it exists
	durations   [len(buckets) + 1]uint64 // by bucket, not cumulative; the last one has no bound
	durationSum float64                  // seconds
}

// Published counts a generation that was published at a time, and how long the
// writer took for it.
func (m *Metrics) Published(generation uint64, took time.Duration, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.generation = generation
	m.state.publishes++
	m.state.lastPublish = at
	seconds := took.Seconds()
	i := 0
	for i < len(buckets) && seconds > buckets[i] {
		i++
	}
	m.state.durations[i]++
	m.state.durationSum += seconds
}

// PublishFailed counts a generation that could not be published. The reason is
// one of a few words, not the text of an error: it becomes a series.
func (m *Metrics) PublishFailed(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.failures == nil {
		m.state.failures = make(map[string]uint64)
	}
	m.state.failures[reason]++
}

// Repaired counts a repair of what someone else changed in the volume.
func (m *Metrics) Repaired() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.repairs++
}

// SetRefused replaces the set of the refused Secrets: name → reason.
func (m *Metrics) SetRefused(reasons map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.refused = maps.Clone(reasons)
}

// SetGeneration sets the generation in the volume without counting a publish:
// the one found at start.
func (m *Metrics) SetGeneration(generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.generation = generation
}

// SetPresent replaces the set of the watched Secrets: name → it exists.
func (m *Metrics) SetPresent(present map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.present = maps.Clone(present)
}

// snapshot gives a copy that later updates do not change.
func (m *Metrics) snapshot() state {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.failures = maps.Clone(s.failures)
	// refused and present are replaced as a whole and never written to.
	return s
}
