package writer

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// The names of generation in these tests.
type (
	Files   = generation.Files
	Content = generation.Content
	Layout  = generation.Layout
)

// The names of volume in these tests.
var (
	ErrUnusable = volume.ErrUnusable
	Reason      = volume.Reason
	Ready       = volume.Ready
)

// files makes the Files of a Secret: key, value, key, value, …
func files(version string, pairs ...string) Files {
	f := Files{UID: "uid", ResourceVersion: version, Values: map[string]secret.Value{}}
	for i := 0; i < len(pairs); i += 2 {
		f.Values[pairs[i]] = secret.Value(pairs[i+1])
	}
	return f
}

func one(name string, f Files) Content {
	return Content{Complete: true, Secrets: map[string]Files{name: f}}
}

func two(name string, f Files, name2 string, f2 Files) Content {
	return Content{Complete: true, Secrets: map[string]Files{name: f, name2: f2}}
}

// clock is a time under the control of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 11, 22, 10, 44, 52, 193935138, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(1) // names differ, as with a real clock
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// layouts are all layouts, for tests in each layout.
var layouts = []Layout{generation.Nested, generation.Flat}

// setup contains everything necessary to open a Writer.
type setup struct {
	Options
	now   func() time.Time
	watch func(Options) *events
	calls func(volume.Calls) volume.Calls // wraps the calls on the volume; nil: as they are
}

func noEvents(Options) *events { return &events{} }

func newEvents(opts Options) *events { return must2(watchVolume(opts.Dir)) }

// start opens a Writer as Open does, with the parts of the setup.
func start(s setup) (*Writer, error) {
	vol, err := volume.Open(context.Background(), s.Dir)
	if err != nil {
		return nil, err
	}
	if s.calls != nil {
		vol.Calls = s.calls(vol.Calls)
	}
	return open(context.Background(), vol, s.Options, s.now, s.watch(s.Options))
}

// testOptions is a setup with a clock under the control of the test, and without
// inotify, whose instances are scarce on a node.
func testOptions(t testing.TB, dir string) setup {
	return setup{
		Options: Options{
			Dir: dir, Layout: generation.Nested, FileMode: 0o644, Repaired: func() {},
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		},
		now: newClock().Now, watch: noEvents,
	}
}

// childOptions is testOptions for a child process, where there is no testing.T.
func childOptions(dir string) setup {
	return setup{
		Options: Options{
			Dir: dir, Layout: generation.Nested, FileMode: 0o644, Repaired: func() {},
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		},
		now: newClock().Now, watch: noEvents,
	}
}

func quiet(o setup) setup {
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return o
}

func opened(t testing.TB, opts setup) *Writer {
	t.Helper()
	w, err := start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func shut(t testing.TB, w *Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, w *Writer, set Content) uint64 {
	t.Helper()
	n, err := w.Publish(context.Background(), set)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// reconcileAll compares everything, as Run does after a retry.
func reconcileAll(w *Writer) { w.locked(func() { w.reconcileOrRetry(context.Background()) }) }

// runDue does the work due now, as Run does when its timer expires.
func runDue(w *Writer) { w.locked(func() { w.compare(context.Background()) }) }

// mismatches returns all differences from the current generation.
func mismatches(w *Writer) []generation.Entry {
	cur := w.current.Load()
	return w.damage(cur, slices.Concat(cur.Entries, w.records(cur)))
}

// endGracePeriods ends all grace periods and removes the rest.
func endGracePeriods(w *Writer, c *clock) {
	c.Add(grace + time.Second)
	runDue(w)
	reconcileAll(w)
}

// notifiedRecord returns the record of a target that was notified of a generation.
func notifiedRecord(generation uint64) notification.TargetRecord {
	return notification.TargetRecord{Notified: generation}
}

func lastNotified(w *Writer, target string) (generation uint64, known bool) {
	records, lost := w.TargetRecords()
	record, known := records[target]
	return record.Notified, known || lost
}
