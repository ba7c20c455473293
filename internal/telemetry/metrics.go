// Package telemetry says how the program is: health, status and metrics over
// HTTP, pprof, and Events on the Pod. It sees names of Secrets, never values.
package telemetry

import "sync"

// Metrics is every metric that /metrics shows. All methods of its fields are safe
// for concurrent use. The labels' values are names and words of a few, never the
// text of an error: each becomes a series.
type Metrics struct {
	BuildInfo, Generation, Publishes, PublishFailures, LastPublish *Family
	PublishDuration                                                *Histogram
	Repairs, SecretPresent, SecretRefused                          *Family
	Notifications, NotifyPending, WatchUp, LastContact             *Family

	mu  sync.Mutex // of all metrics
	all []exposer  // in the order of the text
}

// NewMetrics defines the metrics. A new one is a line here, a field above, and a
// call where it happens.
func NewMetrics() *Metrics {
	m := &Metrics{}
	m.BuildInfo = m.gauge("build_info", "Always 1; the labels say what is running.", "version", "goversion")
	m.Generation = m.gauge("generation", "Number of the generation in the volume, 0 for none.")
	m.Publishes = m.counter("publishes_total", "Generations published by this process.")
	m.PublishFailures = m.counter("publish_failures_total", "Generations that could not be published, by reason.", "reason")
	m.LastPublish = m.gauge("last_publish_timestamp_seconds", "When this process published last, 0 if it has not yet.")
	m.PublishDuration = m.histogram("publish_duration_seconds", "Time from the files to the swap, on disk.")
	m.Repairs = m.counter("repairs_total", "Repairs of files that someone else changed.")
	m.SecretPresent = m.gauge("secret_present", "Whether the watched Secret exists.", "secret")
	m.SecretRefused = m.gauge("secret_refused", "1 for a Secret whose newest state is not published.", "secret", "reason")
	m.Notifications = m.counter("notifications_total", "Attempts to notify the app, by target and result.", "target", "result")
	m.NotifyPending = m.gauge("notify_pending", "Whether the target has not been notified of the newest generation.", "target")
	m.WatchUp = m.gauge("watch_up", "Whether the watch is connected.", "watch")
	m.LastContact = m.gauge("last_contact_timestamp_seconds", "When the watch last heard of the API server, 0 for never.", "watch")
	return m
}
