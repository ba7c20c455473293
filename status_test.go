package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/internal/wake"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

// A versions is a Source whose Secret db has other data in each version.
type versions struct {
	mu      sync.Mutex
	version int
	changed wake.Channel
}

func (v *versions) Changed() <-chan struct{} { return v.changed }

func (v *versions) Snapshot() watcher.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := fmt.Sprint(v.version)
	db := watcher.Secret{UID: "u", ResourceVersion: text, Data: map[string]secret.Value{"k": secret.Value(text)}}
	return watcher.Snapshot{Secrets: map[string]watcher.Secret{"db": db}}
}

func (v *versions) next() {
	v.mu.Lock()
	v.version++
	v.mu.Unlock()
	v.changed.Poke()
}

// newStatusSidecar returns a sidecar that publishes a source, without an API server or a target.
func newStatusSidecar(t *testing.T, source pipeline.Source) *sidecar {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &sidecar{cfg: &config.Config{}, log: log, trim: time.NewTimer(time.Hour)}
	var err error
	s.writer, err = writer.Open(t.Context(), writer.Options{
		Dir: testsupport.MemoryDir(t), Layout: "nested", FileMode: 0o400, Logger: log, Repaired: func() {},
	})
	if err == nil {
		s.watcher, err = watcher.New(watcher.Options{Config: &rest.Config{}, Names: []string{"db"}, Logger: log})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.notifier = notifier.New(notifier.Options{Volume: s.writer, Logger: log})
	s.pipeline = pipeline.New(pipeline.Options{
		Rules: layout.Rules{Layout: "nested", Required: []string{"db"}}, Source: source, Publisher: s.writer,
		PublishAfter: func() time.Time { return time.Time{} }, Observer: s, Logger: log,
	})
	return s
}

// TestStatus_duringPublishes: a document that is made during a publish never shows the new version beside the old
// generation, of which the app was notified. Enough goroutines ask to interrupt each other inside a document.
func TestStatus_duringPublishes(t *testing.T) {
	source := &versions{version: 1, changed: wake.NewChannel()}
	s := newStatusSidecar(t, source)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.pipeline.Run(ctx) })
	for range 8 {
		running.Go(func() {
			for ctx.Err() == nil {
				db := s.status().Secrets["db"]
				if version, _ := strconv.ParseUint(db.ResourceVersion, 10, 64); db.Generation < version {
					t.Errorf("the document shows version %d with generation %d", version, db.Generation)
					cancel()
				}
			}
		})
	}
	for n := uint64(1); n <= 50 && ctx.Err() == nil; n++ { // generation n contains version n
		testsupport.Eventually(t, "the next generation", func() error {
			if s.writer.Newest() < n && ctx.Err() == nil {
				return fmt.Errorf("got generation %d, want %d", s.writer.Newest(), n)
			}
			return nil
		})
		source.next()
	}
	cancel()
	running.Wait()
}
