package writer

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestCheckEvents_missing: if inotify dropped events, everything is compared.
func TestCheckEvents_missing(t *testing.T) {
	dir, repaired := testsupport.MemoryDir(t), 0
	opts := testOptions(t, dir)
	opts.watch, opts.Repaired = newEvents, func() { repaired++ }
	w := opened(t, opts)
	publish(t, w, mixed)
	must(w.events.close()) // no event arrives any more
	w.events.take()
	put(current(dir), "db/password", "evil")
	w.locked(func() { w.checkEvents(t.Context()) })
	if repaired != 0 {
		t.Error("repaired without an event")
	}
	w.events.report("", 0)
	w.locked(func() { w.checkEvents(t.Context()) })
	if repaired != 1 {
		t.Errorf("got %d repairs, want 1", repaired)
	}
	equal(t, "visible", visible(t, dir), shown(generation.Nested, mixed))
}

// TestEvents_overflow: while nobody reads the events, the kernel drops them. Then everything is compared, and a
// directory that was replaced meanwhile is watched again.
func TestEvents_overflow(t *testing.T) {
	dir, repaired := testsupport.MemoryDir(t), 0
	opts := testOptions(t, dir)
	opts.watch, opts.Repaired = newEvents, func() { repaired++ }
	w := opened(t, opts)
	publish(t, w, mixed)
	text := string(must2(os.ReadFile("/proc/sys/fs/inotify/max_queued_events")))
	limit := must2(strconv.Atoi(strings.TrimSpace(text)))
	foreign := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	for _, name := range foreign {
		must(os.WriteFile(name, nil, 0o600))
	}
	until(t, "the events before", func() bool { return w.events.take()["b"].Has(fsnotify.Create) })
	w.events.mu.Lock()            // further events stay in the queue
	for i := range limit + 8192 { // fsnotify holds some; the kernel joins equal events in a row
		must(os.Chmod(foreign[i%2], 0o600))
	}
	must(os.Rename(filepath.Join(dir, "db"), filepath.Join(dir, "away")))
	w.events.mu.Unlock()
	until(t, "a repair", func() bool {
		w.locked(func() { w.checkEvents(t.Context()) })
		return repaired > 0
	})
	must(os.Remove(filepath.Join(dir, "db/password")))
	until(t, "a repair of the new directory", func() bool {
		w.locked(func() { w.checkEvents(t.Context()) })
		return repaired > 1
	})
}

// TestEvents_oldGenerations: the Writer forgets the directories of replaced generations.
func TestEvents_oldGenerations(t *testing.T) {
	opts := testOptions(t, testsupport.MemoryDir(t))
	opts.watch = newEvents
	w := opened(t, opts)
	publish(t, w, mixed)
	watched := len(w.events.inodes)
	for i := range 10 {
		publish(t, w, []Content{changes, mixed}[i%2])
	}
	if got := len(w.events.inodes); got != watched {
		t.Errorf("%d directories are watched after ten publishes, want %d", got, watched)
	}
}
