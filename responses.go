package main

import (
	"crypto/rand"
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"

	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/writer"
)

// instance names this process in /status. By it, `secret-sync wait` recognizes two answers of a single process.
var instance = rand.Text()

// status returns the document of the running sidecar. It reads the notifications last: a target may by then have been
// notified of a newer generation, so the document still claims no more than is true.
func (s *sidecar) status() *status.Document {
	states := s.pipeline.Secrets()
	d := statusOfVolume(s.writer.State())
	d.Namespace, d.Pod, d.PodUID, d.Instance = s.cfg.Pod.Namespace, s.cfg.Pod.Name, s.cfg.Pod.UID, instance
	for name, state := range states {
		secret := d.Secrets[name]
		secret.Present, secret.Refused = state.Present, state.Rejected
		if state.UID != "" { // else the volume may know the last version
			secret.UID, secret.ResourceVersion, secret.DataSince = state.UID, state.ResourceVersion, state.DataSince
			secret.PreviousData = state.PreviousData
		}
		d.Secrets[name] = secret
	}
	d.Targets = append(d.Targets, s.notifier.Status()...)
	d.Watches = append(d.Watches, s.watcher.Status()...)
	return d
}

// statusOfVolume returns the document without targets from the volume alone. The volume does not
// record whether a Secret still exists: a Secret with files counts as present.
func statusOfVolume(v writer.State) *status.Document {
	d := &status.Document{
		Format: status.Format, Volume: v.Notified.Volume, Generation: v.Generation, Complete: v.Complete,
		Secrets: map[string]status.Secret{}, Targets: []status.Target{}, Watches: []status.Watch{},
	}
	for name, s := range v.Secrets {
		d.Secrets[name] = status.Secret{
			Present: true, UID: s.UID, ResourceVersion: s.ResourceVersion, DataSince: s.ResourceVersion,
			Generation: s.Generation,
		}
	}
	return d
}

// writeMetrics adds every series from the present state of the parts.
func (s *sidecar) writeMetrics(p telemetry.Page) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	p.Add("secretsync_build_info", 1, "version", buildVersion(), "goversion", runtime.Version())
	p.Add("process_start_time_seconds", telemetry.Seconds(s.began))
	p.Add("secretsync_generation", float64(s.writer.Newest()))
	p.Add("secretsync_repairs_total", float64(s.repairs.Load()))
	p.Add("secretsync_log_lines_lost_total", float64(s.linesLost()))
	p.Add("go_goroutines", float64(runtime.NumGoroutine()))
	p.Add("go_gc_heap_live_bytes", float64(live[0].Value.Uint64()))
	s.publishes.Write(p)
	s.writeSecrets(p)
	for _, t := range s.notifier.Status() {
		p.Add("secretsync_notifications_total", float64(t.Failed), "target", t.Name, "result", "failure")
		p.Add("secretsync_notifications_total", float64(t.Successes), "target", t.Name, "result", "success")
		p.Add("secretsync_notify_pending", telemetry.Bool(t.Pending), "target", t.Name)
		p.Add("secretsync_notify_stopped", telemetry.Bool(t.Error == notifier.Stopped), "target", t.Name)
	}
	for _, w := range s.watcher.Status() {
		p.Add("secretsync_watch_up", telemetry.Bool(w.Up), "watch", w.Name)
		p.Add("secretsync_last_contact_timestamp_seconds", telemetry.Seconds(w.LastContact), "watch", w.Name)
	}
}

// writeSecrets adds the series of the Secrets. A deleted Secret has no series unless it is listed by name.
func (s *sidecar) writeSecrets(p telemetry.Page) {
	for _, name := range s.cfg.Secrets {
		p.Add("secretsync_secret_required", 1, "secret", name)
	}
	states := *s.secrets.Load()
	for _, name := range slices.Sorted(maps.Keys(states)) {
		state := states[name]
		if state.Present || slices.Contains(s.cfg.SecretNames(), name) {
			p.Add("secretsync_secret_present", telemetry.Bool(state.Present), "secret", name)
		}
		if state.Rejected != "" {
			p.Add("secretsync_secret_refused", 1, "secret", name, "reason", state.Rejected)
		}
	}
}
