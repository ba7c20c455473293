package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/logging"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/internal/wake"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

// exitLimit is the time between SIGTERM and the end of the process, even if an operation blocks.
// A forced end is a crash, which is safe at any point.
const exitLimit = 800 * time.Millisecond

// run runs the sidecar, or with SECRETSYNC_ONE_SHOT the init container, until SIGTERM or
// SIGINT. A second such signal kills the process. SIGHUP waits until the sidecar is ready to read it.
func run(stderr *logging.Writer) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	// Nobody reads the channel for SIGPIPE. Without it, a log line to a closed stderr would kill the program.
	// signal.Ignore would do the same, but programs that the sidecar starts would inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	var stopped error // the result of SIGTERM during an operation
	if cfg.OneShot {
		stopped = pipeline.ErrStopped
	}
	context.AfterFunc(ctx, func() {
		stop()
		time.AfterFunc(exitLimit, func() { os.Exit(exitCode(stopped)) })
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
		return stopped
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errStart, err)
	}
	s.hup, s.linesLost = hup, output.Lost
	log.Info("started", "version", buildVersion(), "namespace", cfg.Pod.Namespace,
		"secrets", brief.List(cfg.SecretNames()), "selector", cfg.Selector, "path", cfg.Dir,
		"memory_limit", debug.SetMemoryLimit(-1))
	err = errors.Join(s.run(ctx), s.writer.Close())
	log.Info("stopped")
	return err
}

func newLogger(cfg *config.Config, output io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(output, opts))
	}
	return slog.New(slog.NewJSONHandler(output, opts))
}

// useOneProcessor makes Go run a single goroutine at a time, unless the user sets GOMAXPROCS. On a
// second core, goroutines would only wake up early: inotify immediately reports the writes of the
// process itself. Go also keeps caches and threads for each core, 2.3 MB for 64 cores.
func useOneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// memoryLimitFiles contain the memory limit of the container in bytes, for cgroup v2 and v1.
var memoryLimitFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limitMemory limits the memory of Go to 3/8 of the limit of the container. The same limit
// covers a memory volume with up to three generations of the Secrets, and some 10 MiB of the
// binary. "Memory" in docs/configuration.md contains the figures.
func limitMemory(files ...string) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return // read by the runtime
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // a missing file and "max" are no limit
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			debug.SetMemoryLimit(limit / 8 * 3)
			return
		}
	}
}

const (
	trimAfter = time.Second // after the last publish
	trimAbove = 4 << 20     // bytes of Go's heap; for less, the collection costs more pages than it returns
)

// trimMemory returns unused memory to the kernel. Decoding a Secret takes several times its size, and Go would keep
// that memory. Measured after 20 changes of one of five Secrets of 900 KB: RSS 33 MB without, 19 MB with trimMemory.
func trimMemory() {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(heap)
	if heap[0].Value.Uint64()+heap[1].Value.Uint64() > trimAbove {
		debug.FreeOSMemory()
	}
}

// A sidecar contains the parts. They exchange plain values and do not import each other. It is
// the Observer of the pipeline.
type sidecar struct {
	cfg       *config.Config
	log       *slog.Logger
	hup       <-chan os.Signal
	linesLost func() int64 // log lines lost because of a failed write
	began     time.Time
	publishes telemetry.Publishes
	repairs   atomic.Int64
	secrets   atomic.Pointer[map[string]pipeline.SecretState] // as reported by the pipeline
	events    *telemetry.Events                               // nil: off
	writer    *writer.Writer
	watcher   *watcher.Watcher
	notifier  *notifier.Notifier
	pipeline  *pipeline.Pipeline
	reap      bool // as PID 1; a credential plugin would lose its exit status
	trim      *time.Timer
}

// newSidecar creates the parts and sends no request. It reports all mistakes in the volume and
// in the cluster configuration. After an error, the end of the process closes the volume.
func newSidecar(ctx context.Context, cfg *config.Config, log *slog.Logger) (s *sidecar, err error) {
	s = &sidecar{cfg: cfg, log: log, began: time.Now()}
	s.Secrets(nil)
	s.trim = time.AfterFunc(trimAfter, trimMemory)
	cluster, clusterErr := kube.ClusterConfig()
	interval := notifier.NewInterval(cfg.SignalInterval)
	s.writer, err = writer.Open(ctx, writer.Options{
		Dir: cfg.Dir, Layout: cfg.Layout, FileMode: cfg.FileMode, Logger: log,
		Swap:     interval.Swap,
		Repaired: func() { s.repairs.Add(1); s.notifier.Poke() }, // Newest may no longer be 0
	})
	if err = errors.Join(clusterErr, err); err != nil {
		return nil, err
	}
	cluster.UserAgent = "secret-sync/" + buildVersion()
	s.reap = os.Getpid() == 1 && cluster.ExecProvider == nil
	s.watcher, err = watcher.New(watcher.Options{
		Config: cluster, Namespace: cfg.Pod.Namespace, Names: cfg.SecretNames(), Selector: cfg.Selector,
		Debounce: cfg.Settle, Logger: log,
	})
	if cfg.Events && err == nil {
		var client *kube.Client
		client, err = kube.NewClient(cluster)
		pod := telemetry.Pod{Namespace: cfg.Pod.Namespace, Name: cfg.Pod.Name, UID: cfg.Pod.UID}
		s.events = telemetry.NewEvents(pod, client.CreateEvent, log)
	}
	if err != nil {
		return nil, err
	}
	s.notifier = notifier.New(notifier.Options{
		Targets: newTargets(cfg, interval, log, s.events.NotifyUnverified), Volume: s.writer, Interval: interval,
		NotifyFirst: cfg.NotifyFirst, Splay: cfg.Splay, Logger: log, Report: s.events.NotifyFailing,
	})
	s.pipeline = pipeline.New(pipeline.Options{
		Rules: layout.Rules{Layout: cfg.Layout, Required: cfg.Secrets, Optional: cfg.OptionalSecrets,
			Selector: cfg.Selector != "", Items: cfg.Items, RequiredKeys: cfg.RequiredKeys},
		RemoveDeleted: cfg.OnDelete == "remove", OneShot: cfg.OneShot, SyncTimeout: cfg.SyncTimeout,
		Source: s.watcher, Publisher: s.writer, PublishAfter: interval.End, Observer: s, Logger: log,
	})
	return s, nil
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
	parts := []func(context.Context) error{s.watcher.Run, s.writer.Run, s.notifier.Run, s.events.Run, s.rereadOnHUP}
	for _, run := range parts {
		group.Go(func() error { return run(ctx) })
	}
	if addr := s.cfg.HTTPAddr; addr != "" {
		handler := telemetry.Handler(telemetry.Sources{Ready: s.ready, Status: s.status, Metrics: s.writeMetrics})
		group.Go(func() error { return telemetry.Serve(ctx, addr, handler, s.log) })
	}
	return group.Wait()
}

// rereadOnHUP reads the Secrets, compares the volume and retries failed notifications on SIGHUP, until ctx ends. The
// first signal takes effect at once, and signals within RereadInterval are combined. In a shared process namespace, a
// HUP for the app by name may also reach the sidecar.
func (s *sidecar) rereadOnHUP(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.hup:
			s.log.Info("received SIGHUP, reading the Secrets again and comparing the volume")
			s.watcher.Reread()
			s.writer.Recheck()
			s.notifier.Retry()
			wake.Sleep(ctx, watcher.RereadInterval)
		}
	}
}

// Published passes a result of the pipeline to the notifier, the metrics and the Events.
func (s *sidecar) Published(generation uint64, secrets []string, took time.Duration) {
	s.notifier.Poke()
	s.publishes.Succeeded(took)
	s.events.Published(generation, secrets)
	s.trim.Reset(trimAfter)
}

func (s *sidecar) PublishFailed(reason string)                 { s.publishes.Failed(reason) }
func (s *sidecar) Rejected(r layout.Rejection)                 { s.events.Rejected(r.Secret, r.Detail) }
func (s *sidecar) Secrets(all map[string]pipeline.SecretState) { s.secrets.Store(&all) }

// ready reports whether apps can read a complete generation.
func (s *sidecar) ready() bool {
	_, set := s.writer.Current()
	return s.writer.Newest() > 0 && set.Complete
}
