package main

import (
	"crypto/rand"

	"github.com/secret-sync/secret-sync/internal/status"
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
