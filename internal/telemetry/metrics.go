// Package telemetry reports the state of the program: health, status and metrics over
// HTTP, and Events on the Pod. It sees names of Secrets, never values.
package telemetry

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Metrics contains every metric of /metrics. All methods of the fields are safe for concurrent use. Each value
// of a label creates a series, so labels are names and a few fixed words, never the text of an error.
type Metrics struct {
	BuildInfo, ProcessStart, Goroutines, HeapLive, LogLinesLost,
	Generation, Publishes, PublishFailures, LastPublish, PublishDuration, Repairs,
	SecretPresent, SecretRequired, SecretRefused,
	Notifications, NotifyPending, WatchUp, LastContact *Metric
	mu  sync.Mutex // guards the series of all
	all []*Metric
}

// NewMetrics returns Metrics without values.
func NewMetrics() *Metrics {
	m := &Metrics{}
	m.BuildInfo = m.define("gauge", "secretsync_build_info", "The running version.", "version", "goversion")
	m.ProcessStart = m.define("gauge", "process_start_time_seconds", "Start time of the process.")
	m.Generation = m.define("gauge", "secretsync_generation", "Generation in the volume, 0 for none.")
	m.Publishes = m.define("counter", "secretsync_publishes_total", "Published generations.")
	m.PublishFailures = m.define("counter", "secretsync_publish_failures_total", "Failed publishes.", "reason")
	m.LastPublish = m.define("gauge", "secretsync_last_publish_timestamp_seconds", "Time of the last publish, or 0.")
	m.PublishDuration = m.define("histogram", "secretsync_publish_duration_seconds", "Duration of a publish.")
	m.Repairs = m.define("counter", "secretsync_repairs_total", "Repairs of files that another process changed.")
	m.SecretPresent = m.define("gauge", "secretsync_secret_present", "Whether the Secret exists.", "secret")
	m.SecretRequired = m.define("gauge", "secretsync_secret_required", "1 for a Secret that must exist.", "secret")
	m.SecretRefused = m.define("gauge", "secretsync_secret_refused", "1 for a rejected Secret.", "secret", "reason")
	m.Notifications = m.define("counter", "secretsync_notifications_total", "Attempts to notify.", "target", "result")
	m.NotifyPending = m.define("gauge", "secretsync_notify_pending", "Whether a notification is pending.", "target")
	m.WatchUp = m.define("gauge", "secretsync_watch_up", "Whether the watch is connected.", "watch")
	m.LastContact = m.define("gauge", "secretsync_last_contact_timestamp_seconds", "Last contact.", "watch")
	m.LogLinesLost = m.define("counter", "secretsync_log_lines_lost_total", "Log lines that could not be written.")
	m.Goroutines = m.define("gauge", "go_goroutines", "Number of goroutines.")
	m.HeapLive = m.define("gauge", "go_gc_heap_live_bytes", "Memory in use after the last garbage collection.")
	return m
}

// define adds a metric. A gauge or a counter without labels exists from the start.
func (m *Metrics) define(kind, name, help string, labels ...string) *Metric {
	metric := &Metric{mu: &m.mu, kind: kind, name: name, help: help, labels: labels, series: map[string]float64{}}
	if len(labels) == 0 && kind != "histogram" {
		metric.series[""] = 0
	}
	m.all = append(m.all, metric)
	return metric
}

// text returns all metrics at a single point in time, in the text format of Prometheus,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
func (m *Metrics) text() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out bytes.Buffer
	for _, metric := range m.all {
		fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", metric.name, metric.help, metric.kind)
		for _, key := range metric.keys() {
			fmt.Fprintf(&out, "%s%s %v\n", metric.name, key, metric.series[key])
		}
	}
	return out.Bytes()
}

// A Metric is a gauge, a counter or a histogram with all its series.
type Metric struct {
	mu               *sync.Mutex
	kind, name, help string
	labels           []string
	series           map[string]float64 // by the text between the name and the value
}

// A Series is a value with a value for each label.
type Series struct {
	Value  float64
	Labels []string
}

// Set sets the value of a series. The labels are in the order of the definition.
func (m *Metric) Set(value float64, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[m.key(labels)] = value
}

// Add adds n to the value of a series.
func (m *Metric) Add(n float64, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[m.key(labels)] += n
}

// Replace sets all series and removes the others.
func (m *Metric) Replace(all []Series) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.series)
	for _, s := range all {
		m.series[m.key(s.Labels)] = s.Value
	}
}

// buckets are the upper bounds of the histogram in seconds, for memory volumes and slow disks.
var buckets = []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, math.Inf(1)}

func bucketKey(bound float64) string { return fmt.Sprintf(`_bucket{le="%v"}`, bound) }

// Observe counts a duration in the histogram. Each bucket includes the lower buckets.
func (m *Metric) Observe(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, bound := range buckets {
		if d.Seconds() <= bound {
			m.series[bucketKey(bound)]++
		}
	}
	m.series["_sum"] += d.Seconds()
	m.series["_count"]++
}

// escaped replaces the characters not allowed in quotes.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (m *Metric) key(values []string) string {
	if len(values) == 0 {
		return ""
	}
	pairs := make([]string, len(values))
	for i, value := range values {
		pairs[i] = m.labels[i] + `="` + escaped.Replace(strings.ToValidUTF8(value, "\uFFFD")) + `"`
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// keys returns the keys of all series in the order of the text.
func (m *Metric) keys() (keys []string) {
	if m.kind != "histogram" {
		return slices.Sorted(maps.Keys(m.series))
	}
	for _, bound := range buckets {
		keys = append(keys, bucketKey(bound))
	}
	return append(keys, "_sum", "_count")
}

// Bool returns 1 for true and 0 for false.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Seconds returns t as Unix time, and 0 for the zero time.
func Seconds(t time.Time) float64 { return max(0, float64(t.UnixMicro())/1e6) }
