package main

import (
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"

	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier"
)

// writeMetrics writes every metric from the present state of the parts.
func (s *sidecar) writeMetrics(p *telemetry.Page) {
	p.Metric("gauge", "secretsync_build_info", "The running version.")
	p.Series(1, "version", buildVersion(), "goversion", runtime.Version())
	p.Metric("gauge", "process_start_time_seconds", "Start time of the process.").Series(telemetry.Seconds(s.began))
	p.Metric("gauge", "secretsync_generation", "Generation in the volume, 0 for none.")
	p.Series(float64(s.writer.Newest()))
	s.publishes.Write(p)
	p.Metric("counter", "secretsync_repairs_total", "Repairs of files that another process changed.")
	p.Series(float64(s.repairs.Load()))
	s.writeSecrets(p)
	p.Metric("counter", "secretsync_notifications_total", "Attempts to notify.")
	targets, watches := s.notifier.Status(), s.watcher.Status()
	for _, t := range targets {
		p.Series(float64(t.Failed), "target", t.Name, "result", "failure")
		p.Series(float64(t.Successes), "target", t.Name, "result", "success")
	}
	p.Metric("gauge", "secretsync_notify_pending", "Whether a notification is pending.")
	for _, t := range targets {
		p.Series(telemetry.Bool(t.Pending), "target", t.Name)
	}
	p.Metric("gauge", "secretsync_notify_stopped", "1 if the process ended after two signals, so none is sent.")
	for _, t := range targets {
		p.Series(telemetry.Bool(t.Error == notifier.Stopped), "target", t.Name)
	}
	p.Metric("gauge", "secretsync_watch_up", "Whether the watch is connected.")
	for _, w := range watches {
		p.Series(telemetry.Bool(w.Up), "watch", w.Name)
	}
	p.Metric("gauge", "secretsync_last_contact_timestamp_seconds", "Last contact.")
	for _, w := range watches {
		p.Series(telemetry.Seconds(w.LastContact), "watch", w.Name)
	}
	lost, live := float64(s.linesLost()), []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	p.Metric("counter", "secretsync_log_lines_lost_total", "Log lines that could not be written.").Series(lost)
	p.Metric("gauge", "go_goroutines", "Number of goroutines.").Series(float64(runtime.NumGoroutine()))
	p.Metric("gauge", "go_gc_heap_live_bytes", "Memory in use after the last garbage collection.")
	p.Series(float64(live[0].Value.Uint64()))
}

// writeSecrets writes the metrics of the Secrets. A deleted Secret has no series unless it is listed by name.
func (s *sidecar) writeSecrets(p *telemetry.Page) {
	states := *s.secrets.Load()
	names := slices.Sorted(maps.Keys(states))
	p.Metric("gauge", "secretsync_secret_present", "Whether the Secret exists.")
	for _, name := range names {
		if present := states[name].Present; present || slices.Contains(s.cfg.SecretNames(), name) {
			p.Series(telemetry.Bool(present), "secret", name)
		}
	}
	p.Metric("gauge", "secretsync_secret_required", "1 for a Secret that must exist.")
	for _, name := range s.cfg.Secrets {
		p.Series(1, "secret", name)
	}
	p.Metric("gauge", "secretsync_secret_refused", "1 for a rejected Secret.")
	for _, name := range names {
		if reason := states[name].Rejected; reason != "" {
			p.Series(1, "secret", name, "reason", reason)
		}
	}
}
