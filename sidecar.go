package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/logging"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/signals"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

// exitLimit is the time between SIGTERM and the end of the process, even if an operation blocks.
// A forced end is a crash, which is safe at any point.
const exitLimit = 800 * time.Millisecond

// run runs the sidecar, or with SECRETSYNC_ONE_SHOT the init container, until SIGTERM or
// SIGINT. A second such signal kills the process.
func run(stderr *logging.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		stop()
		time.AfterFunc(exitLimit, func() { os.Exit(exitCode(stopped(cfg))) })
	})
	useOneProcessor()
	limitMemory(memoryLimitFiles...)
	output := stderr
	if cfg.LogOutput == "stdout" {
		output = logging.NewWriter(os.Stdout)
		defer output.Close(flushLimit)
	}
	log := newLogger(cfg, output)
	s, err := newSidecar(ctx, cfg, log)
	if err != nil && ctx.Err() != nil {
		return stopped(cfg)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errStart, err)
	}
	s.linesLost = output.Lost
	log.Info("started", "version", buildVersion(), "namespace", cfg.Pod.Namespace,
		"secrets", brief.List(cfg.SecretNames()), "selector", cfg.Selector, "path", cfg.Dir,
		"memory_limit", debug.SetMemoryLimit(-1))
	err = errors.Join(s.run(ctx), s.writer.Close())
	log.Info("stopped")
	return err
}

// stopped returns the result of a run ended by SIGTERM during an operation. A one-shot run has
// then not done its job.
func stopped(cfg *config.Config) error {
	if cfg.OneShot {
		return errors.New("stopped before the end of the one-shot run")
	}
	return nil
}

func newLogger(cfg *config.Config, output io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(output, opts))
	}
	return slog.New(slog.NewJSONHandler(output, opts))
}

// A sidecar contains the parts. They exchange plain values and do not import each other.
type sidecar struct {
	cfg       *config.Config
	log       *slog.Logger
	linesLost func() int64 // log lines lost because of a failed write
	metrics   *telemetry.Metrics
	events    *telemetry.Events // nil: off
	writer    *writer.Writer
	watcher   *watcher.Watcher
	notifier  *notifier.Notifier
	pipeline  *pipeline.Pipeline
	reap      bool // as PID 1; a credential plugin would lose its exit status
}

// newSidecar creates the parts and sends no request. It reports all mistakes in the volume and
// in the cluster configuration. After an error, the end of the process closes the volume.
func newSidecar(ctx context.Context, cfg *config.Config, log *slog.Logger) (*sidecar, error) {
	s := &sidecar{cfg: cfg, log: log, metrics: telemetry.NewMetrics()}
	cluster, clusterErr := kube.ClusterConfig()
	var err error
	s.writer, err = writer.Open(ctx, writer.Options{
		Dir: cfg.Dir, Layout: cfg.Layout, FileMode: cfg.FileMode, Logger: log, Repaired: s.repaired,
	})
	if err = errors.Join(clusterErr, err); err != nil {
		return nil, err
	}
	cluster.UserAgent = "secret-sync/" + buildVersion()
	return s, s.connect(cluster)
}

// repaired counts a repair. It also wakes the notifier, because a notification waits while
// apps cannot read the generation.
func (s *sidecar) repaired() {
	s.metrics.Repairs.Add(1)
	s.notifier.Poke()
}

// connect creates the parts after the writer, each with the parts it uses.
func (s *sidecar) connect(cluster *rest.Config) (err error) {
	cfg := s.cfg
	s.reap = os.Getpid() == 1 && cluster.ExecProvider == nil
	s.watcher, err = watcher.New(watcher.Options{
		Config: cluster, Namespace: cfg.Pod.Namespace, Names: cfg.SecretNames(), Selector: cfg.Selector,
		Debounce: cfg.Settle, Logger: s.log,
	})
	if err != nil {
		return err
	}
	if cfg.Events {
		client, err := kube.NewClient(cluster)
		if err != nil {
			return err
		}
		pod := telemetry.Pod{Namespace: cfg.Pod.Namespace, Name: cfg.Pod.Name, UID: cfg.Pod.UID}
		s.events = telemetry.NewEvents(pod, client.CreateEvent, s.log)
	}
	s.notifier = notifier.New(notifier.Options{
		Targets: newTargets(cfg, s.log, s.events.NotifyUnverified), Volume: generations{s.writer},
		NotifyFirst: cfg.NotifyFirst, Splay: cfg.Splay,
		Logger: s.log, Report: s.events.NotifyFailing,
	})
	s.describe(s.writer.Newest())
	s.pipeline = pipeline.New(pipeline.Settings{
		Rules: layout.Rules{
			Layout: cfg.Layout, Required: cfg.Secrets, Optional: cfg.OptionalSecrets, Selector: cfg.Selector != "",
			Items: cfg.Items, RequiredKeys: cfg.RequiredKeys,
		},
		RemoveDeleted: cfg.OnDelete == "remove", OneShot: cfg.OneShot, SyncTimeout: cfg.SyncTimeout,
		Source: s.watcher, Publisher: s.writer, PublishAfter: s.notifier.PublishAfter, Observer: observer{s}, Logger: s.log,
	})
	return nil
}

// run runs all parts until ctx ends, or until the pipeline finishes its job or gives up. It
// returns when all parts have ended.
func (s *sidecar) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if s.reap {
		group.Go(func() error { exec.Reap(ctx); return nil })
	}
	group.Go(func() error { defer cancel(); return s.pipeline.Run(ctx) })
	group.Go(func() error { return s.watcher.Run(ctx) })
	group.Go(func() error { return s.writer.Run(ctx) })
	group.Go(func() error { return s.notifier.Run(ctx) })
	group.Go(func() error { return s.events.Run(ctx) })
	group.Go(func() error { return s.rereadOnHUP(ctx) })
	if addr := s.cfg.HTTPAddr; addr != "" {
		handler := telemetry.Handler(s.metrics, telemetry.Sources{Ready: s.ready, Status: s.status, Collect: s.collect})
		group.Go(func() error { return telemetry.Serve(ctx, addr, handler, s.log) })
	}
	return group.Wait()
}

// rereadOnHUP reads the Secrets and compares the volume on SIGHUP, until ctx ends. In a shared
// process namespace, a HUP for the app by name may also reach the sidecar.
func (s *sidecar) rereadOnHUP(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals.HUP:
			s.log.Info("received SIGHUP, reading the Secrets again and comparing the volume")
			s.watcher.Reread()
			s.writer.Recheck()
			s.notifier.Retry()
		}
	}
}
