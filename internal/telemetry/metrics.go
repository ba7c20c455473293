// Package telemetry reports the state of the program: health, status and metrics over
// HTTP, and Events on the Pod. It sees names of Secrets, never values.
package telemetry

import (
	"bytes"
	"reflect"
	"strings"
	"sync"
)

// Metrics contains every metric of /metrics, in this order. The suffix _total defines a
// counter.
//
// All methods of the fields are safe for concurrent use. Each value of a label creates a series,
// so labels are names and a few fixed words, never the text of an error.
type Metrics struct {
	BuildInfo       Metric    `name:"secretsync_build_info" labels:"version goversion" help:"The running version."`
	ProcessStart    Metric    `name:"process_start_time_seconds" help:"Start time of the process."`
	Generation      Metric    `name:"secretsync_generation" help:"Generation in the volume, 0 for none."`
	Publishes       Metric    `name:"secretsync_publishes_total" help:"Published generations."`
	PublishFailures Metric    `name:"secretsync_publish_failures_total" labels:"reason" help:"Failed publishes."`
	LastPublish     Metric    `name:"secretsync_last_publish_timestamp_seconds" help:"Time of the last publish, or 0."`
	PublishDuration Histogram `name:"secretsync_publish_duration_seconds" help:"Duration of a publish."`
	Repairs         Metric    `name:"secretsync_repairs_total" help:"Repairs of files that another process changed."`
	SecretPresent   Metric    `name:"secretsync_secret_present" labels:"secret" help:"Whether the Secret exists."`
	SecretRequired  Metric    `name:"secretsync_secret_required" labels:"secret" help:"1 for a Secret that must exist."`
	SecretRefused   Metric    `name:"secretsync_secret_refused" labels:"secret reason" help:"1 for a rejected Secret."`
	Notifications   Metric    `name:"secretsync_notifications_total" labels:"target result" help:"Attempts to notify."`
	NotifyPending   Metric    `name:"secretsync_notify_pending" labels:"target" help:"Whether a notification is pending."`
	WatchUp         Metric    `name:"secretsync_watch_up" labels:"watch" help:"Whether the watch is connected."`
	LastContact     Metric    `name:"secretsync_last_contact_timestamp_seconds" labels:"watch" help:"Last contact."`
	LogLinesLost    Metric    `name:"secretsync_log_lines_lost_total" help:"Log lines that could not be written."`
	Goroutines      Metric    `name:"go_goroutines" help:"Number of goroutines."`
	HeapLive        Metric    `name:"go_gc_heap_live_bytes" help:"Memory in use after the last garbage collection."`

	mu  sync.Mutex // guards the values of all
	all []metric
}

// metric is a field of Metrics. write is called with the lock held.
type metric interface {
	define(definition)
	write(*bytes.Buffer)
}

// definition contains the tags of a field.
type definition struct {
	mu         *sync.Mutex
	name, help string
	labels     []string
}

// NewMetrics returns Metrics without values.
func NewMetrics() *Metrics {
	m := &Metrics{}
	for field, value := range reflect.ValueOf(m).Elem().Fields() {
		if !field.IsExported() {
			continue
		}
		defined := value.Addr().Interface().(metric)
		defined.define(definition{
			mu: &m.mu, name: field.Tag.Get("name"), help: field.Tag.Get("help"), labels: strings.Fields(field.Tag.Get("labels")),
		})
		m.all = append(m.all, defined)
	}
	return m
}

// text returns all metrics at a single point in time.
func (m *Metrics) text() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out bytes.Buffer
	for _, metric := range m.all {
		metric.write(&out)
	}
	return out.Bytes()
}
