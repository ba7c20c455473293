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
	"github.com/secret-sync/secret-sync/writer/inspect"
)

// describe sets the metrics that are known from the start; generation is the one that
// is in the volume.
func (a *app) describe(generation uint64) {
	a.metrics.BuildInfo.Set(1, buildVersion(), runtime.Version())
	a.metrics.ProcessStart.Set(telemetry.Seconds(time.Now()))
	a.metrics.Generation.Set(float64(generation))
	for _, name := range a.cfg.Secrets {
		a.metrics.SecretRequired.Set(1, name)
	}
}

// volume is the writer as the notifier sees it.
type volume struct{ *writer.Writer }

func (v volume) ChangesSince(generation uint64) notifier.Changes {
	return notifier.Changes(v.Writer.ChangesSince(generation))
}

// observer is the notifier, metrics and Events as the pipeline sees them.
type observer struct{ *app }

func (o observer) Published(generation uint64, secrets []string, took time.Duration) {
	o.notifier.Poke()
	o.metrics.Generation.Set(float64(generation))
	o.metrics.Publishes.Add(1)
	o.metrics.LastPublish.Set(telemetry.Seconds(time.Now()))
	o.metrics.PublishDuration.Observe(took)
	o.events.Published(generation, secrets)
}

func (o observer) PublishFailed(reason string) { o.metrics.PublishFailures.Add(1, reason) }

func (o observer) Refused(r layout.Refusal) { o.events.Refused(r.Secret, r.Detail) }

// Seen sets the metrics of all Secrets. A Secret that is gone has no series, unless
// it is named.
func (o observer) Seen(all map[string]pipeline.Observed) {
	var present, refused []telemetry.Series
	for name, s := range all {
		if s.Present || slices.Contains(o.cfg.SecretNames(), name) {
			present = append(present, telemetry.Series{Value: telemetry.Bool(s.Present), Labels: []string{name}})
		}
		if s.Refused != "" {
			refused = append(refused, telemetry.Series{Value: 1, Labels: []string{name, s.Refused}})
		}
	}
	o.metrics.SecretPresent.Replace(present)
	o.metrics.SecretRefused.Replace(refused)
}

// collect sets the metrics that the parts and the runtime count.
func (a *app) collect() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	a.metrics.HeapLive.Set(float64(live[0].Value.Uint64()))
	a.metrics.Goroutines.Set(float64(runtime.NumGoroutine()))
	for _, s := range a.watcher.Status() {
		a.metrics.WatchUp.Set(telemetry.Bool(s.Up), s.Watch)
		a.metrics.LastContact.Set(telemetry.Seconds(s.LastContact), s.Watch)
	}
	for _, s := range a.notifier.Status() {
		a.metrics.NotifyPending.Set(telemetry.Bool(s.Pending), s.Target)
		a.metrics.Notifications.Set(float64(s.Succeeded), s.Target, "success")
		a.metrics.Notifications.Set(float64(s.Failed), s.Target, "failure")
	}
}

// instance names this process in /status, so that `secret-sync wait` never takes two answers
// of one process for the answers of two containers.
var instance = rand.Text()

// status returns the document of the running sidecar. It reads the notifications last: a
// target may by then have been notified of a newer generation, so the document still
// claims no more than is true.
func (a *app) status() *status.Document {
	observed := a.pipeline.Observed()
	d := statusOfVolume(a.writer.State())
	d.Namespace, d.Pod, d.PodUID = a.cfg.Namespace, a.cfg.PodName, a.cfg.PodUID
	d.Instance = instance
	for name, o := range observed {
		s := d.Secrets[name]
		s.Present, s.Refused = o.Present, o.Refused
		if o.Present {
			s.UID, s.ResourceVersion, s.DataSince = o.UID, o.ResourceVersion, o.ResourceVersion
		}
		d.Secrets[name] = s
	}
	d.Targets = []status.Target{}
	for _, s := range a.notifier.Status() {
		d.Targets = append(d.Targets, status.Target{
			Name: s.Target, Notified: s.Notified, Pending: s.Pending, PendingSince: s.PendingSince.UTC(),
			Failures: s.Failures, Error: s.Error,
		})
	}
	for _, s := range a.watcher.Status() {
		d.Watches = append(d.Watches, status.Watch{Name: s.Watch, Up: s.Up, LastContact: s.LastContact.UTC()})
	}
	return d
}

// statusOfVolume returns the document that the volume alone supports. The volume does not
// record whether a Secret still exists: a Secret with files counts as present.
func statusOfVolume(v inspect.State) *status.Document {
	d := &status.Document{
		Format: status.Format, Generation: v.Generation, Complete: v.Complete,
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
