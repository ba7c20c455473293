package writer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// visible returns the files of an app: the readable files under names without a
// leading "..". It omits dangling links.
func visible(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	see(dir, "", out)
	return out
}

func see(dir, rel string, out map[string]string) {
	p := filepath.Join(dir, rel)
	info, err := os.Stat(p)
	switch {
	case err != nil:
	case info.IsDir():
		entries, _ := os.ReadDir(p)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "..") {
				see(dir, filepath.Join(rel, e.Name()), out)
			}
		}
	case info.Mode().IsRegular():
		data, err := os.ReadFile(p)
		if err != nil {
			data = []byte("error: " + err.Error())
		}
		out[rel] = string(data)
	}
}

// shown returns the expected result of visible for set.
func shown(layout Layout, set Content) map[string]string {
	out := map[string]string{}
	for name, f := range set.Secrets {
		for file, value := range f.Values {
			out[layout.Path(name, file)] = string(value)
		}
	}
	return out
}

// tree lists all entries in dir, path → content. Names of generations become TIME1,
// TIME2, … in their order, and records are normalized for comparison between
// volumes.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out, times := map[string]string{}, map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if generation.GenerationName.MatchString(e.Name()) {
			times[e.Name()] = fmt.Sprintf("TIME%d", len(times)+1)
		}
	}
	normal := func(s string) string {
		for name, short := range times {
			s = strings.ReplaceAll(s, name, short)
		}
		return s
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if rel == "." || rel == generation.LockFile {
			return nil
		}
		out[normal(rel)] = normal(describe(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func describe(p string) string {
	info, err := os.Lstat(p)
	if err != nil {
		return err.Error()
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(p)
		return "→ " + target
	case info.Mode().IsRegular():
		data, err := os.ReadFile(p)
		if err != nil {
			return err.Error()
		}
		var v map[string]any
		if strings.HasSuffix(p, ".json") && json.Unmarshal(data, &v) == nil {
			if v["volume"] != nil {
				v["volume"] = "ID" // random
			}
			data, _ = json.Marshal(v) // keys in order
		}
		return fmt.Sprintf("%v %q", info.Mode(), data)
	default:
		return info.Mode().String()
	}
}

// equal compares two listings and reports the differences, line by line.
func equal(t testing.TB, what string, got, want map[string]string) bool {
	t.Helper()
	if maps.Equal(got, want) {
		return true
	}
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		g, inGot := got[p]
		n, inWant := want[p]
		switch {
		case !inWant:
			t.Errorf("%s: %s is there: %s", what, p, g)
		case !inGot:
			t.Errorf("%s: %s is not there, want %s", what, p, n)
		case g != n:
			t.Errorf("%s: %s: got %s, want %s", what, p, g, n)
		}
	}
	return false
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
