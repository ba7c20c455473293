// Package telemetry reports the state of the program: health, status and metrics over
// HTTP, and Events on the Pod. It sees names of Secrets, never values.
package telemetry

import (
	"bytes"
	"reflect"
	"strings"
	"sync"
)

// Metrics is every metric of /metrics, in this order. A new one is a line here and
// a call where it happens. A name that ends in _total makes a counter.
//
// All methods of the fields are safe for concurrent use. The labels' values are
// names and a few fixed words, never the text of an error: each becomes a series.
type Metrics struct {
	BuildInfo       Metric    `name:"secretsync_build_info" labels:"version goversion" help:"Always 1; the labels say what is running."`
	ProcessStart    Metric    `name:"process_start_time_seconds" help:"When the process started."`
	Generation      Metric    `name:"secretsync_generation" help:"Number of the generation in the volume, 0 for none."`
	Publishes       Metric    `name:"secretsync_publishes_total" help:"Generations published by this process."`
	PublishFailures Metric    `name:"secretsync_publish_failures_total" labels:"reason" help:"Generations that could not be published, by reason."`
	LastPublish     Metric    `name:"secretsync_last_publish_timestamp_seconds" help:"When this process published last, 0 if it has not yet."`
	PublishDuration Histogram `name:"secretsync_publish_duration_seconds" help:"Time from the files to the swap, on disk."`
	Repairs         Metric    `name:"secretsync_repairs_total" help:"Repairs of files that someone else changed."`
	SecretPresent   Metric    `name:"secretsync_secret_present" labels:"secret" help:"Whether the watched Secret exists."`
	SecretRequired  Metric    `name:"secretsync_secret_required" labels:"secret" help:"1 for a Secret that must exist, one of SECRETSYNC_SECRETS."`
	SecretRefused   Metric    `name:"secretsync_secret_refused" labels:"secret reason" help:"1 for a Secret whose newest state is not published."`
	Notifications   Metric    `name:"secretsync_notifications_total" labels:"target result" help:"Attempts to notify the app, by target and result."`
	NotifyPending   Metric    `name:"secretsync_notify_pending" labels:"target" help:"Whether the target has not been notified of the newest generation."`
	WatchUp         Metric    `name:"secretsync_watch_up" labels:"watch" help:"Whether the watch is connected."`
	LastContact     Metric    `name:"secretsync_last_contact_timestamp_seconds" labels:"watch" help:"When the watch last heard of the API server, 0 for never."`
	Goroutines      Metric    `name:"go_goroutines" help:"Number of goroutines."`
	HeapLive        Metric    `name:"go_gc_heap_live_bytes" help:"Memory that was in use after the last garbage collection."`

	mu  sync.Mutex // guards the values of all
	all []metric
}

// metric is a field of Metrics. Its write is called with the lock held.
type metric interface {
	define(definition)
	write(*bytes.Buffer)
}

// definition is what the tags say.
type definition struct {
	mu         *sync.Mutex
	name, help string
	labels     []string
}

// NewMetrics defines the metrics.
func NewMetrics() *Metrics {
	m := &Metrics{}
	for field, value := range reflect.ValueOf(m).Elem().Fields() {
		if !field.IsExported() {
			continue
		}
		one := value.Addr().Interface().(metric)
		one.define(definition{
			mu: &m.mu, name: field.Tag.Get("name"), help: field.Tag.Get("help"), labels: strings.Fields(field.Tag.Get("labels")),
		})
		m.all = append(m.all, one)
	}
	return m
}

// text gives all metrics of one moment.
func (m *Metrics) text() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out bytes.Buffer
	for _, one := range m.all {
		one.write(&out)
	}
	return out.Bytes()
}
