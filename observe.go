package main

import (
	"crypto/rand"
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/writer"
)

// describe sets the constant metrics, and the generation found at a restart.
func (s *sidecar) describe(generation uint64) {
	s.metrics.BuildInfo.Set(1, buildVersion(), runtime.Version())
	s.metrics.ProcessStart.Set(telemetry.Seconds(time.Now()))
	s.metrics.Generation.Set(float64(generation))
	for _, name := range s.cfg.Secrets {
		s.metrics.SecretRequired.Set(1, name)
	}
}

// generations adapts the writer to the notifier.
type generations struct{ *writer.Writer }

func (g generations) ChangesSince(generation uint64) notifier.Changes {
	return notifier.Changes(g.Writer.ChangesSince(generation))
}

// observer passes the results of the pipeline to the notifier, the metrics and the Events.
type observer struct{ *sidecar }

func (o observer) Published(generation uint64, secrets []string, took time.Duration) {
	o.notifier.Poke()
	o.metrics.Generation.Set(float64(generation))
	o.metrics.Publishes.Add(1)
	o.metrics.LastPublish.Set(telemetry.Seconds(time.Now()))
	o.metrics.PublishDuration.Observe(took)
	o.events.Published(generation, secrets)
}

func (o observer) PublishFailed(reason string) { o.metrics.PublishFailures.Add(1, reason) }

func (o observer) Rejected(r layout.Rejection) { o.events.Rejected(r.Secret, r.Detail) }

// Secrets sets the metrics of all Secrets. A deleted Secret loses its series unless it is
// listed by name.
func (o observer) Secrets(all map[string]pipeline.SecretState) {
	var present, rejected []telemetry.Series
	for name, s := range all {
		if s.Present || slices.Contains(o.cfg.SecretNames(), name) {
			present = append(present, telemetry.Series{Value: telemetry.Bool(s.Present), Labels: []string{name}})
		}
		if s.Rejected != "" {
			rejected = append(rejected, telemetry.Series{Value: 1, Labels: []string{name, s.Rejected}})
		}
	}
	o.metrics.SecretPresent.Replace(present)
	o.metrics.SecretRefused.Replace(rejected)
}

// ready reports whether apps can read a complete generation.
func (s *sidecar) ready() bool {
	_, set := s.writer.Current()
	return s.writer.Newest() > 0 && set.Complete
}

// collect sets the metrics of the parts and the Go runtime.
func (s *sidecar) collect() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	s.metrics.HeapLive.Set(float64(live[0].Value.Uint64()))
	s.metrics.Goroutines.Set(float64(runtime.NumGoroutine()))
	s.metrics.LogLinesLost.Set(float64(s.linesLost()))
	for _, w := range s.watcher.Status() {
		s.metrics.WatchUp.Set(telemetry.Bool(w.Up), w.Watch)
		s.metrics.LastContact.Set(telemetry.Seconds(w.LastContact), w.Watch)
	}
	for _, t := range s.notifier.Status() {
		s.metrics.NotifyPending.Set(telemetry.Bool(t.Pending), t.Target)
		s.metrics.Notifications.Set(float64(t.Succeeded), t.Target, "success")
		s.metrics.Notifications.Set(float64(t.Failed), t.Target, "failure")
	}
}

// instance names this process in /status. By it, `secret-sync wait` recognizes two answers
// of a single process.
var instance = rand.Text()

// status returns the document of the running sidecar. It reads the notifications last: a
// target may by then have been notified of a newer generation, so the document still
// claims no more than is true.
func (s *sidecar) status() *status.Document {
	states := s.pipeline.Secrets()
	d := statusOfVolume(s.writer.State())
	d.Namespace, d.Pod, d.PodUID = s.cfg.Pod.Namespace, s.cfg.Pod.Name, s.cfg.Pod.UID
	d.Instance = instance
	for name, state := range states {
		secret := d.Secrets[name]
		secret.Present, secret.Refused = state.Present, state.Rejected
		if state.UID != "" { // else the volume may know the last version
			secret.UID, secret.ResourceVersion, secret.DataSince = state.UID, state.ResourceVersion, state.DataSince
			secret.PreviousData = status.Interval(state.PreviousData)
		}
		d.Secrets[name] = secret
	}
	d.Targets = []status.Target{}
	for _, t := range s.notifier.Status() {
		d.Targets = append(d.Targets, status.Target{
			Name: t.Target, Notified: t.Notified, Pending: t.Pending, PendingSince: t.PendingSince.UTC(),
			Successes: t.Succeeded, Failures: t.Failures, Error: t.Error, Recipient: t.Recipient,
		})
	}
	for _, w := range s.watcher.Status() {
		d.Watches = append(d.Watches, status.Watch{Name: w.Watch, Up: w.Up, LastContact: w.LastContact.UTC()})
	}
	return d
}

// statusOfVolume returns the document from the volume alone. The volume does not record
// whether a Secret still exists: a Secret with files counts as present.
func statusOfVolume(v writer.State) *status.Document {
	d := &status.Document{
		Format: status.Format, Volume: v.VolumeID, Generation: v.Generation, Complete: v.Complete,
		Secrets: map[string]status.Secret{}, Targets: []status.Target{}, Watches: []status.Watch{},
	}
	for name, s := range v.Secrets {
		d.Secrets[name] = status.Secret{
			Present: true, UID: s.UID, ResourceVersion: s.ResourceVersion, DataSince: s.ResourceVersion,
			Generation: v.SecretSince(name),
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Notified)) {
		notified := v.Notified[name]
		d.Targets = append(d.Targets, status.Target{Name: name, Notified: notified, Pending: notified != v.Generation})
	}
	return d
}
