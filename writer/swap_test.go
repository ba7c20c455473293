package writer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestSwap_showsAllFiles: until the rename, apps see the old files. Without the rename, the publish fails and the old
// files stay.
func TestSwap_showsAllFiles(t *testing.T) {
	opts := testOptions(t, t.TempDir())
	allowed := true
	var during map[string]string
	opts.Swap = func(_ context.Context, rename func() error) error {
		if during = visible(t, opts.Dir); !allowed {
			return context.Canceled
		}
		return rename()
	}
	w := opened(t, opts)
	publish(t, w, one("db", files("1", "password", "a")))
	before := visible(t, opts.Dir)
	for _, allowed = range []bool{false, true} {
		_, err := w.Publish(t.Context(), one("db", files("2", "password", "b")))
		if errors.Is(err, context.Canceled) == allowed || !maps.Equal(during, before) {
			t.Errorf("error %v, visible before the rename: %v, want %v", err, during, before)
		}
		if got := visible(t, opts.Dir); maps.Equal(got, before) == allowed {
			t.Errorf("allowed = %v: visible %v, before %v", allowed, got, before)
		}
	}
}

// TestSwap_repair: a repair does not wait for the time of a swap. It holds the Writer's lock, and /status would wait.
func TestSwap_repair(t *testing.T) {
	opts := testOptions(t, t.TempDir())
	swaps := 0
	opts.Swap = func(_ context.Context, rename func() error) error { swaps++; return rename() }
	w := opened(t, opts)
	publish(t, w, mixed)
	before := visible(t, opts.Dir)
	for name := range before {
		put(opts.Dir, name, "damaged")
	}
	reconcileAll(w)
	if got := visible(t, opts.Dir); swaps != 1 || !maps.Equal(got, before) {
		t.Errorf("%d swaps waited, want 1; visible %v, want %v", swaps, got, before)
	}
}

// TestSwap_failsAgainAndAgain: a publish that fails leaves no copy of the files, even if nothing outside of the
// generation can be restored. Each retry of the publish would add a copy.
func TestSwap_failsAgainAndAgain(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	opts, seam := withSeam(testOptions(t, dir))
	w := opened(t, quiet(opts))
	publish(t, w, one("db", files("1", "key", "a")))
	must(os.Remove(filepath.Join(dir, generation.NotifiedFile)))
	seam.reset(func(_ int, c call, do func() error) error {
		if c.op == "Rename" { // of a link or a record over an entry of another UID in a sticky directory
			return syscall.EPERM
		}
		return do()
	})
	for range 3 {
		if _, err := w.Publish(t.Context(), one("db", files("2", "key", "b"))); !errors.Is(err, syscall.EPERM) {
			t.Fatalf("got %v, want EPERM", err)
		}
	}
	entries, err := os.ReadDir(dir)
	must(err)
	generations := 0
	for _, e := range entries {
		if e.IsDir() && generation.GenerationName.MatchString(e.Name()) {
			generations++
		}
	}
	if generations != 1 {
		t.Errorf("the volume contains %d generations, want only the published one", generations)
	}
}

// TestSync_noDirectory: a file of another process in the place of a directory does not fail every later sync.
func TestSync_noDirectory(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	put(dir, "db", "a file")
	w.uncertain.unsynced["db"] = true
	if err := w.syncChanged(); err != nil || w.uncertain.unsynced["db"] {
		t.Errorf("got %v, unsynced %v", err, w.uncertain.unsynced)
	}
}

// TestWake_linkInPlaceOfDirectory: after a change to the nested layout, the link of a key stands where the directory of
// a Secret belongs, until step 11. No warning mentions it.
func TestWake_linkInPlaceOfDirectory(t *testing.T) {
	var log testsupport.Log
	opts := testOptions(t, testsupport.MemoryDir(t))
	opts.Layout, opts.Logger = generation.Flat, slog.New(slog.NewTextHandler(&log, nil))
	w := opened(t, opts)
	publish(t, w, one("a", files("1", "db", "x")))
	shut(t, w)
	opts.Layout = generation.Nested
	w = opened(t, opts)
	publish(t, w, one("db", files("2", "key", "y")))
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("got the log %s", log.String())
	}
}
