// Package program wires the parts together like package main, with a volume, apps and an
// API server that may be in memory. Only the tests of the simulation use it.
//
// It runs the real watcher, layout, pipeline, writer and notifier, and defines the watched
// Secrets. It knows nothing about faults or checks.
package program

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// Config contains the settings of a seed.
type Config struct {
	Layout              generation.Layout
	Remove, NotifyFirst bool
	Settle              time.Duration
}

// Outside contains the environment of the program.
type Outside struct {
	Dir     string
	Volume  volume.Calls // nil for a real mount
	API     *apiserver.Server
	Targets []notifier.Target
	Logger  *slog.Logger
}

// A Program is a process of the program.
type Program struct {
	writer   *writer.Writer
	watcher  *watcher.Watcher
	notifier *notifier.Notifier
	pipeline *pipeline.Pipeline
}

// New opens the volume and creates the parts, without starting them.
func New(c Config, o Outside) (p Program, err error) {
	poke := func() {}
	p.writer, err = openWriter(o, writer.Options{
		Dir: o.Dir, Layout: c.Layout, FileMode: 0o644, Logger: o.Logger, Repaired: func() { poke() },
	})
	if err != nil {
		return p, err
	}
	p.watcher, err = watcher.New(watcher.Options{
		Config: &rest.Config{Host: "http://api", Dial: o.API.Dial}, Namespace: apiserver.Namespace,
		Names: []string{Required, optional}, Selector: apiserver.Selector, Debounce: c.Settle, Logger: o.Logger,
	})
	if err != nil {
		return p, err
	}
	p.notifier = notifier.New(notifier.Options{
		Targets: o.Targets, Volume: p.writer, NotifyFirst: c.NotifyFirst,
		Logger: o.Logger, Report: func(string, error) {},
	})
	poke = p.notifier.Poke
	p.pipeline = pipeline.New(pipeline.Options{
		Rules: layout.Rules{
			Layout: c.Layout, Required: []string{Required}, Optional: []string{optional}, Selector: true,
			RequiredKeys: map[string][]string{Required: {requiredKey}},
		},
		RemoveDeleted: c.Remove, Source: p.watcher, Publisher: p.writer, PublishAfter: notifier.NewInterval(0).End,
		Observer: observer{p.notifier}, Logger: o.Logger,
	})
	return p, nil
}

// openWriter opens the Writer on the real mount or on the volume in memory.
func openWriter(o Outside, opts writer.Options) (*writer.Writer, error) {
	if o.Volume == nil {
		return writer.Open(context.Background(), opts)
	}
	return writer.New(context.Background(), o.Volume, opts)
}

// Run runs the program until ctx is canceled or a part fails.
func (p Program) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { defer cancel(); return p.pipeline.Run(ctx) })
	group.Go(func() error { return p.watcher.Run(ctx) })
	group.Go(func() error { return p.writer.Run(ctx) })
	group.Go(func() error { return p.notifier.Run(ctx) })
	return group.Wait()
}

// Reread has the effect of SIGHUP.
func (p Program) Reread() { p.watcher.Reread(); p.writer.Recheck() }

// Close closes the volume. It must be called after Run.
func (p Program) Close() error { return p.writer.Close() }

// observer forwards events to the notifier and records no metrics.
type observer struct{ *notifier.Notifier }

func (o observer) Published(uint64, []string, time.Duration) { o.Poke() }
func (observer) PublishFailed(string)                        {}
func (observer) Rejected(layout.Rejection)                   {}
func (observer) Secrets(map[string]pipeline.SecretState)     {}
