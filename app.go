package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/watcher/kubeapi"
	"github.com/secret-sync/secret-sync/writer"
)

// app is the parts, joined.
type app struct {
	cfg      config.Config
	log      *slog.Logger
	metrics  *telemetry.Metrics
	events   *telemetry.Events // nil: off
	writer   *writer.Writer
	watcher  *watcher.Watcher
	notifier *notifier.Notifier
	pipeline *pipeline.Pipeline
}

// assemble makes the parts. Nothing is asked of the API yet. All that is wrong
// with the volume and the cluster's configuration is told at once.
func assemble(cfg config.Config, log *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, metrics: &telemetry.Metrics{}}
	cluster, clusterErr := kubeapi.ClusterConfig()
	if clusterErr != nil {
		clusterErr = fmt.Errorf("%w: %w", errEnvironment, clusterErr)
	}
	a.writer, err = writer.Open(writer.Options{
		Dir: cfg.Dir, Flat: cfg.Flat, FileMode: cfg.FileMode, Logger: log, Repaired: a.metrics.Repaired,
	})
	if err = errors.Join(clusterErr, err); err == nil {
		cluster.UserAgent = "secret-sync/" + buildVersion()
		err = a.join(cluster)
	}
	if err != nil && a.writer != nil {
		err = errors.Join(err, a.writer.Close())
	}
	return a, err
}

func (a *app) join(cluster *rest.Config) (err error) {
	cfg := a.cfg
	a.watcher, err = watcher.New(watcher.Options{
		Config: cluster, Namespace: cfg.Namespace, Names: names(cfg), Selector: cfg.Selector, Settle: cfg.Settle, Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errEnvironment, err)
	}
	if cfg.Events {
		client, err := kubeapi.NewClient(cluster)
		if err != nil {
			return fmt.Errorf("%w: %w", errEnvironment, err)
		}
		a.events = telemetry.NewEvents(telemetry.Pod{Namespace: cfg.Namespace, Name: cfg.PodName, UID: cfg.PodUID}, eventCreator{client}, a.log)
	}
	targets, err := targets(cfg, a.log)
	if err != nil {
		return fmt.Errorf("%w: %w", errEnvironment, err)
	}
	a.notifier, err = notifier.New(notifier.Options{
		Targets: targets, Volume: volume{a.writer}, NotifyFirst: cfg.NotifyFirst, Splay: cfg.Splay, Logger: a.log, Report: a.reportNotify,
	})
	if err != nil {
		return err
	}
	a.metrics.SetGeneration(a.writer.Newest())
	a.pipeline = pipeline.New(pipeline.Options{
		Layout: layout.Options{
			Flat: cfg.Flat, Required: cfg.Secrets, Optional: cfg.OptionalSecrets, Selector: cfg.Selector != "",
			Items: cfg.Items, RequiredKeys: cfg.RequiredKeys,
		},
		Remove: cfg.RemoveOnDelete, OneShot: cfg.OneShot, SyncTimeout: cfg.SyncTimeout,
		Source: a.watcher, Volume: a.writer, Notify: a.notifier.Poke, Observer: observer{a}, Logger: a.log,
	})
	return nil
}

func targets(cfg config.Config, log *slog.Logger) (all []notifier.Target, err error) {
	if cfg.Process != "" || cfg.PIDFile != "" {
		all = append(all, notifier.NewProcess(notifier.ProcessOptions{
			Name: cfg.Process, PIDFile: cfg.PIDFile, Signal: cfg.Signal, Check: cfg.SignalCheck, MinAge: cfg.ProcessMinAge, Logger: log,
		}))
	}
	if cfg.WebhookURL != "" {
		hook, err := notifier.NewWebhook(notifier.WebhookOptions{
			URL: cfg.WebhookURL, Method: cfg.WebhookMethod, Timeout: cfg.WebhookTimeout,
			CAFile: cfg.WebhookCAFile, TokenFile: cfg.WebhookTokenFile, Logger: log,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, hook)
	}
	if len(cfg.Exec) > 0 {
		all = append(all, notifier.NewExec(notifier.ExecOptions{Command: cfg.Exec, Timeout: cfg.ExecTimeout, Logger: log}))
	}
	return all, nil
}

// run runs all parts until the pipeline has ended: it does with ctx, or earlier
// with its job done or given up. It returns when all have.
func (a *app) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if os.Getpid() == 1 {
		go notifier.Reap(ctx) // an exec's grandchildren become ours
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { defer cancel(); return a.pipeline.Run(ctx) })
	group.Go(func() error { return a.watcher.Run(ctx) })
	group.Go(func() error { return a.writer.Run(ctx) })
	group.Go(func() error { return a.notifier.Run(ctx) })
	group.Go(func() error { return a.events.Run(ctx) })
	if a.cfg.HTTPAddr != "" {
		group.Go(func() error { return telemetry.Serve(ctx, a.cfg.HTTPAddr, a.handler(), a.log) })
	}
	if a.cfg.PprofAddr != "" {
		group.Go(func() error { return telemetry.Serve(ctx, a.cfg.PprofAddr, telemetry.PprofHandler(), a.log) })
	}
	return group.Wait()
}

// volume is the writer, as the notifier sees it.
type volume struct{ *writer.Writer }

func (v volume) ChangesSince(told uint64) notifier.Changes {
	return notifier.Changes(v.Writer.ChangesSince(told))
}

// eventCreator is the API, as Events see it.
type eventCreator struct{ *kubeapi.Client }

func (c eventCreator) Create(ctx context.Context, event *telemetry.Event) error {
	object, err := json.Marshal(event)
	if err != nil {
		return err
	}
	return c.Client.Create(ctx, event.Metadata.Namespace, "events", object)
}

// observer is metrics and Events, as the pipeline sees them.
type observer struct{ *app }

func (o observer) Published(generation uint64, secrets []string, took time.Duration) {
	o.metrics.Published(generation, took, time.Now())
	o.events.Published(generation, secrets)
}

func (o observer) PublishFailed(reason string)     { o.metrics.PublishFailed(reason) }
func (o observer) Present(present map[string]bool) { o.metrics.SetPresent(present) }
func (o observer) Refused(all []layout.Refusal) {
	reasons := map[string]string{}
	for _, r := range all {
		reasons[r.Secret] = r.Reason
		o.events.Refused(r.Secret, r.Detail)
	}
	o.metrics.SetRefused(reasons)
}

func (a *app) reportNotify(target string, err error) {
	if err != nil {
		a.events.NotifyFailing(target, err.Error())
	}
}

func (a *app) handler() http.Handler {
	return telemetry.Handler(a.metrics, telemetry.Sources{
		Version: buildVersion(),
		Ready:   func() error { return writer.Ready(a.cfg.Dir) },
		Watches: func() (all []telemetry.Watch) {
			for _, s := range a.watcher.Status() {
				all = append(all, telemetry.Watch{Name: s.Watch, Up: s.Up, LastContact: s.LastContact})
			}
			return all
		},
		Notifications: func() (all []telemetry.Notification) {
			for _, s := range a.notifier.Status() {
				all = append(all, telemetry.Notification(s))
			}
			return all
		},
	})
}
