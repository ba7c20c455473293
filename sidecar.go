package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
	"github.com/secret-sync/secret-sync/writer/inspect"
)

// run is the sidecar, and with ONE_SHOT the init container.
func run() error {
	// Signals come first, so that none is an unclean end. The first TERM or INT
	// ends the program in order, and after that a second one kills. A HUP waits
	// in the channel until there is something to look at.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	useOneProcessor()
	limitMemory(memoryLimitFiles...)
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	log := newLogger(cfg)
	a, err := assemble(cfg, log)
	if err != nil {
		return fmt.Errorf("%w: %w", errEnvironment, err)
	}
	log.Info("started", "version", buildVersion(), "namespace", cfg.Namespace,
		"secrets", cfg.SecretNames(), "selector", cfg.Selector, "path", cfg.Dir,
		"memory_limit", debug.SetMemoryLimit(-1))
	err = errors.Join(a.run(ctx, hup), a.writer.Close())
	log.Info("stopped")
	return err
}

func newLogger(cfg *config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogText {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}

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
		Dir: cfg.Dir, Flat: cfg.Flat, FileMode: cfg.FileMode, Logger: log, Repaired: a.repaired,
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
		Config: cluster, Namespace: cfg.Namespace, Names: cfg.SecretNames(), Selector: cfg.Selector,
		Debounce: cfg.Settle, Logger: a.log,
	})
	if err != nil {
		return err
	}
	if cfg.Events {
		client, err := kube.NewClient(cluster)
		if err != nil {
			return err
		}
		pod := telemetry.Pod{Namespace: cfg.Namespace, Name: cfg.PodName, UID: cfg.PodUID}
		a.events = telemetry.NewEvents(pod, client.Create, a.log)
	}
	a.notifier = notifier.New(notifier.Options{
		Targets: newTargets(cfg, a.log), Volume: volume{a.writer}, NotifyFirst: cfg.NotifyFirst, Splay: cfg.Splay,
		Logger: a.log, Report: a.events.NotifyFailing,
	})
	a.describe(a.writer.Newest())
	a.pipeline = pipeline.New(pipeline.Options{
		Layout: layout.Options{
			Flat: cfg.Flat, Required: cfg.Secrets, Optional: cfg.OptionalSecrets, Selector: cfg.Selector != "",
			Items: cfg.Items, RequiredKeys: cfg.RequiredKeys,
		},
		Remove: cfg.RemoveDeleted, OneShot: cfg.OneShot, SyncTimeout: cfg.SyncTimeout,
		Source: a.watcher, Volume: a.writer, Observer: observer{a}, Logger: a.log,
	})
	return nil
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
	if addr := a.cfg.HTTPAddr; addr != "" {
		ready := func() error { return inspect.Ready(a.cfg.Dir) }
		handler := telemetry.Handler(a.metrics, telemetry.Sources{Ready: ready, Status: a.status, Collect: a.collect})
		group.Go(func() error { return telemetry.Serve(ctx, addr, handler, a.log) })
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
