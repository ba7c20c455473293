package writer

import (
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
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/inotify"
)

// files makes the Files of a Secret: key, value, key, value, …
func files(version string, pairs ...string) Files {
	f := Files{UID: "uid", ResourceVersion: version, Content: map[string]secret.Value{}}
	for i := 0; i < len(pairs); i += 2 {
		f.Content[pairs[i]] = secret.Value(pairs[i+1])
	}
	return f
}

func one(name string, f Files) Set { return Set{Complete: true, Secrets: map[string]Files{name: f}} }

func two(name string, f Files, name2 string, f2 Files) Set {
	return Set{Complete: true, Secrets: map[string]Files{name: f, name2: f2}}
}

// clock is a time that only tests move.
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

// noInotify keeps tests that have nothing to do with it from using it up.
func noInotify(string, *slog.Logger, func()) (*inotify.Watcher, error) {
	return nil, fmt.Errorf("off in this test: %w", syscall.ENOSYS)
}

func testOptions(t testing.TB, dir string) Options {
	return Options{
		Dir: dir, FileMode: 0o644, Repaired: func() {}, notify: noInotify, now: newClock().Now,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// childOptions are for a child process, where there is no testing.T.
func childOptions(dir string) Options {
	return Options{
		Dir: dir, FileMode: 0o644, Repaired: func() {}, notify: noInotify, now: newClock().Now,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

func quiet(o Options) Options {
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return o
}

// memoryDir is a directory on a memory volume, where syncs cost nothing.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "writer-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func open(t testing.TB, opts Options) *Writer {
	t.Helper()
	w, err := Open(opts)
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

func publish(t testing.TB, w *Writer, set Set) uint64 {
	t.Helper()
	n, err := w.Publish(set)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// visible has what an app sees: what can be read under names that do not begin
// with "..". A dangling link is not seen.
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

// shown is what visible has to give for set.
func shown(flat bool, set Set) map[string]string {
	out := map[string]string{}
	for name, f := range set.Secrets {
		for file, value := range f.Content {
			out[generation.Path(flat, name, file)] = string(value)
		}
	}
	return out
}

// tree lists all that is in dir, path → what it is. Names of generations become
// TIME1, TIME2, … in their order, and records are taken apart, so that two
// volumes can be compared.
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
		if rel == "." {
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
		var v any
		if strings.HasSuffix(p, ".json") && json.Unmarshal(data, &v) == nil {
			data, _ = json.Marshal(v) // keys in order
		}
		return fmt.Sprintf("%v %q", info.Mode(), data)
	default:
		return info.Mode().String()
	}
}

// equal compares two listings and reports what differs, line by line.
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

// heal has the writer compare, as Run does within seconds after something was not
// put right.
func heal(w *Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heal()
}

// mismatches has all that is not as planned.
func mismatches(w *Writer) []generation.Entry {
	cur := w.current.Load()
	bad := w.changedInside(cur)
	for _, e := range w.around(cur) {
		if w.vol.Differs(e) {
			bad = append(bad, e)
		}
	}
	return bad
}

// settle ends all graces and removes what is left to be removed.
func settle(w *Writer, c *clock) {
	c.Add(grace + time.Second)
	w.attend()
	heal(w)
}
