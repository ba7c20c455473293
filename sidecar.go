package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
	"github.com/secret-sync/secret-sync/writer/inspect"
)

// app is the parts, wired to one another. They exchange plain values and do not import
// one another.
type app struct {
	cfg      *config.Config
	log      *slog.Logger
	metrics  *telemetry.Metrics
	events   *telemetry.Events // nil: off
	writer   *writer.Writer
	watcher  *watcher.Watcher
	notifier *notifier.Notifier
	pipeline *pipeline.Pipeline
}

// assemble makes the parts. It asks the API for nothing. What is wrong with the
// volume and with the cluster's configuration is reported at once. After an error
// the end of the process closes the volume.
func assemble(cfg *config.Config, log *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, metrics: telemetry.NewMetrics()}
	cluster, clusterErr := kube.ClusterConfig()
	a.writer, err = writer.Open(writer.Options{
		Dir: cfg.Dir.Value, Flat: cfg.Layout.Value == "flat", FileMode: cfg.FileMode.Value, Logger: log, Repaired: a.repaired,
	})
	if err = errors.Join(clusterErr, err); err == nil {
		err = a.wire(cluster)
	}
	return a, err
}

// repaired is called after each repair. It may be one without which apps could not
// get to the generation, so that a notification had to wait for it.
func (a *app) repaired() {
	a.metrics.Repairs.Add(1)
	a.notifier.Poke()
}

// wire makes what follows the writer.
func (a *app) wire(cluster *rest.Config) (err error) {
	cfg := a.cfg
	cluster.UserAgent = "secret-sync/" + buildVersion()
	a.watcher, err = watcher.New(watcher.Options{
		Config: cluster, Namespace: cfg.Namespace.Value, Names: names(cfg), Selector: cfg.Selector.Value,
		Settle: cfg.Settle.Value, Logger: a.log,
	})
	if err != nil {
		return err
	}
	if cfg.Events.Value {
		client, err := kube.NewClient(cluster)
		if err != nil {
			return err
		}
		pod := telemetry.Pod{Namespace: cfg.Namespace.Value, Name: cfg.PodName.Value, UID: cfg.PodUID.Value}
		a.events = telemetry.NewEvents(pod, client.Create, a.log)
	}
	a.notifier = notifier.New(notifier.Options{
		Targets: newTargets(cfg, a.log), Volume: volume{a.writer}, NotifyFirst: cfg.NotifyFirst.Value, Splay: cfg.Splay.Value,
		Logger: a.log, Report: a.events.NotifyFailing,
	})
	a.describe(a.writer.Newest())
	a.pipeline = pipeline.New(pipeline.Options{
		Layout: layout.Options{
			Flat: cfg.Layout.Value == "flat", Required: cfg.Secrets.Value, Optional: cfg.OptionalSecrets.Value, Selector: cfg.Selector.Value != "",
			Items: cfg.Items.Value, Modes: cfg.Items.Modes, RequiredKeys: cfg.RequiredKeys.Value,
		},
		Remove: cfg.OnDelete.Value == "remove", OneShot: cfg.OneShot.Value, SyncTimeout: cfg.SyncTimeout.Value,
		Source: a.watcher, Volume: a.writer, Observer: observer{a}, Logger: a.log,
	})
	return nil
}

// newTargets makes what the configuration wants to be notified. A new kind of
// target is a folder below notifier and a line here.
func newTargets(cfg *config.Config, log *slog.Logger) (all []notifier.Target) {
	// suffix distinguishes one of several.
	add := func(kind string, several bool, suffix any, notify func(context.Context, notifier.Changes) error) {
		if several {
			kind = fmt.Sprint(kind, "/", suffix)
		}
		all = append(all, notifier.Target{Name: kind, Notify: notify})
	}
	signalling := func(p config.Signalled) process.Options {
		return process.Options{
			Signal: cmp.Or(p.Signal, cfg.Signal.Value), Check: cfg.SignalCheck.Value, MinAge: cfg.ProcessMinAge.Value, Logger: log,
		}
	}
	names, files, urls := cfg.Process.Value, cfg.PIDFile.Value, cfg.WebhookURL.Value
	several := len(names)+len(files) > 1
	for _, p := range names {
		add("process", several, p.Of, process.NewByName(p.Of, signalling(p)).Notify)
	}
	for i, p := range files {
		kind := "process"
		if several {
			kind = "pidfile"
		}
		add(kind, several, i+1, process.NewByPIDFile(p.Of, signalling(p)).Notify)
	}
	for i, url := range urls {
		add("webhook", len(urls) > 1, i+1, webhook.Target{
			URL: url, Method: cfg.WebhookMethod.Value, Timeout: cfg.WebhookTimeout.Value,
			CAFile: cfg.WebhookCAFile.Value, TokenFile: cfg.WebhookTokenFile.Value,
		}.Notify)
	}
	if command := cfg.Exec.Value; len(command) > 0 {
		add("exec", false, nil, exec.Target{Command: command, Timeout: cfg.ExecTimeout.Value, Logger: log}.Notify)
	}
	return all
}

// run runs all parts until the pipeline ends: with ctx, or earlier when the job
// is done or given up. It returns when all parts have ended.
func (a *app) run(ctx context.Context, hup <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if os.Getpid() == 1 {
		go process.Reap(ctx) // an exec's grandchildren become ours
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { defer cancel(); return a.pipeline.Run(ctx) })
	group.Go(func() error { return a.watcher.Run(ctx) })
	group.Go(func() error { return a.writer.Run(ctx) })
	group.Go(func() error { return a.notifier.Run(ctx) })
	group.Go(func() error { return a.events.Run(ctx) })
	group.Go(func() error { return a.lookAgain(ctx, hup) })
	if addr := a.cfg.HTTPAddr.Value; addr != "" {
		ready := func() error { return inspect.Ready(a.cfg.Dir.Value) }
		handler := telemetry.Handler(a.metrics, telemetry.Sources{Ready: ready, Status: a.status, Collect: a.collect})
		group.Go(func() error { return telemetry.Serve(ctx, addr, handler, a.log) })
	}
	if addr := a.cfg.PprofAddr.Value; addr != "" {
		group.Go(func() error { return telemetry.Serve(ctx, addr, telemetry.PprofHandler(), a.log) })
	}
	return group.Wait()
}

// lookAgain reads the Secrets and compares the volume on each SIGHUP, until ctx
// ends. In a shared process namespace people send HUP by name, and hit the sidecar
// too.
func (a *app) lookAgain(ctx context.Context, hup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			a.log.Info("SIGHUP: looking at the Secrets and the volume again")
			a.watcher.Reread()
			a.writer.Recheck()
		}
	}
}

// describe sets the metrics that are known from the start; generation is the one that
// is in the volume.
func (a *app) describe(generation uint64) {
	a.metrics.BuildInfo.Set(1, buildVersion(), runtime.Version())
	a.metrics.ProcessStart.Set(telemetry.Seconds(time.Now()))
	a.metrics.Generation.Set(float64(generation))
	for _, name := range a.cfg.Secrets.Value {
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
		if s.Present || slices.Contains(names(o.cfg), name) {
			present = append(present, telemetry.Series{Value: telemetry.Bool(s.Present), Labels: []string{name}})
		}
		if s.Refused != "" {
			refused = append(refused, telemetry.Series{Value: 1, Labels: []string{name, s.Refused}})
		}
	}
	o.metrics.SecretPresent.Replace(present)
	o.metrics.SecretRefused.Replace(refused)
}

// collect sets the metrics that the parts keep themselves.
func (a *app) collect() {
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
