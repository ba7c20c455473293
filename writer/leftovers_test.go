package writer

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// TestOpen_removesNothing: a start makes no call for leftovers, however many there are.
// The first steps of Run remove them, each a limited number.
func TestOpen_removesNothing(t *testing.T) {
	dir, c, log := testsupport.MemoryDir(t), newClock(), testsupport.Log{}
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	want := tree(t, dir)
	shut(t, w)
	const trees, files = 3, volume.MaxRemoved / 2
	for i := range trees {
		name := filepath.Join(dir, "..2031_01_01_00_00_00."+itoa(i+1))
		must(os.MkdirAll(name, 0o755))
		for k := range files {
			must(syscall.Mknod(filepath.Join(name, itoa(k)), syscall.S_IFREG|0o600, 0))
		}
	}
	opts, seam := withSeam(testOptions(t, dir))
	opts.now, opts.Logger = c.Now, slog.New(slog.NewTextHandler(&log, nil))
	w = opened(t, opts)
	if calls := seam.recorded(); len(calls) > 0 {
		t.Errorf("the start made %d calls, such as %v", len(calls), calls[0])
	}
	for sweep := range trees - 1 {
		seam.reset(nil)
		runDue(w)
		if n := len(seam.recorded()); n == 0 || n > volume.MaxRemoved+10 {
			t.Errorf("sweep %d made %d calls, want at most %d", sweep, n, volume.MaxRemoved)
		}
		if !w.uncertain.retryAt.IsZero() {
			t.Error("the removal of the rest is a reason to compare everything")
		}
		c.Add(sweepPeriod)
	}
	if log.Count("could not remove") > 0 {
		t.Error("the limit is logged as a failure")
	}
	equal(t, "in the end", tree(t, dir), want)
}

// TestRemoveStale_failure: a leftover that cannot be removed is no reason to compare everything, and delays no repair.
// Each sweep tries to remove it.
func TestRemoveStale_failure(t *testing.T) {
	dir, c, log := testsupport.MemoryDir(t), newClock(), testsupport.Log{}
	opts, seam := withSeam(testOptions(t, dir))
	opts.now, opts.Logger = c.Now, slog.New(slog.NewTextHandler(&log, nil))
	w := opened(t, opts)
	publish(t, w, fewer)
	before := tree(t, dir)
	put(dir, "..2031_01_01_00_00_00.1/key", "")
	attempts := 0
	seam.reset(func(_ int, c call, do func() error) error {
		if c.op == "Remove" && strings.HasPrefix(c.name, "..2031") {
			attempts++
			return syscall.EPERM
		}
		return do()
	})
	for sweep := range 3 {
		attempts = 0
		runDue(w)
		if attempts == 0 || !w.uncertain.retryAt.IsZero() {
			t.Errorf("sweep %d: %d attempts, another comparison at %v", sweep, attempts, w.uncertain.retryAt)
		}
		c.Add(sweepPeriod)
	}
	if n := log.Count("could not remove a leftover"); n != 1 {
		t.Errorf("got %d warnings, want 1", n)
	}
	seam.reset(nil)
	runDue(w)
	equal(t, "in the end", tree(t, dir), before)
}

// TestCollect_isBounded: the grace period of a planted generation of any size ends. collect removes a limited number of
// its entries, and the sweep removes the rest.
func TestCollect_isBounded(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	w := opened(t, testOptions(t, dir))
	publish(t, w, fewer)
	before := tree(t, dir)
	shut(t, w)
	const planted, files = "..2020_01_01_00_00_00.1", volume.MaxRemoved * 3 / 2
	orphan(dir, current(dir), planted, 1)
	for k := range files {
		must(syscall.Mknod(filepath.Join(dir, planted, itoa(k)), syscall.S_IFREG|0o600, 0))
	}
	opts, seam := withSeam(testOptions(t, dir))
	opts.now = c.Now
	w = opened(t, opts)
	seam.reset(nil)
	c.Add(grace)
	w.locked(func() {})
	if n := len(seam.recorded()); len(w.old) > 0 || n < files/2 || n > volume.MaxRemoved+20 {
		t.Errorf("made %d calls and left %d generations, want at most %d calls", n, len(w.old), volume.MaxRemoved)
	}
	runDue(w)
	equal(t, "in the end", tree(t, dir), before)
}

// TestRemoveStale_stopsWithContext: the end of the context ends the removal of a tree.
func TestRemoveStale_stopsWithContext(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	for i := range 100 {
		put(dir, "..2031_01_01_00_00_00.1/"+itoa(i), "")
	}
	opts, seam := withSeam(testOptions(t, dir))
	w := opened(t, opts)
	ctx, cancel := context.WithCancel(t.Context())
	seam.reset(func(n int, _ call, do func() error) error {
		if n == 10 {
			cancel()
		}
		return do()
	})
	w.locked(func() { w.compare(ctx) })
	if n := len(seam.recorded()); n != 11 {
		t.Errorf("made %d calls, want the end after 11", n)
	}
}

// TestRemoveStale_unreadableLink: the next sweep examines a stale link again after a failure.
func TestRemoveStale_unreadableLink(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts, m := withMisreads(testOptions(t, dir))
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, one("db", files("1", "a", "1", "b", "1")))
	m.fails = func(call, name string) bool { return call == "readlink" && name == "db/b" }
	publish(t, w, one("db", files("2", "a", "2")))
	m.fails = nil
	if _, err := os.Lstat(filepath.Join(dir, "db", "b")); err != nil {
		t.Errorf("got %v, want the stale link", err)
	}
	c.Add(sweepPeriod)
	runDue(w)
	if _, err := os.Lstat(filepath.Join(dir, "db", "b")); err == nil {
		t.Error("the stale link is there")
	}
}

// TestRemoveStale_recordFirst: the rest of an unpublished generation is left without a record: with a record, the
// next start would take it for an old generation.
func TestRemoveStale_recordFirst(t *testing.T) {
	opts, seam := withSeam(testOptions(t, testsupport.MemoryDir(t)))
	w := opened(t, opts)
	seam.reset(func(_ int, c call, do func() error) error {
		if c.name == generation.Temporary && c.op == "Symlink" {
			return errInjected
		}
		return do()
	})
	if _, err := w.Publish(context.Background(), mixed); err == nil {
		t.Fatal("it was published")
	}
	var removed []string
	for _, c := range seam.recorded() {
		if top := generation.Top(c.name); c.op == "Remove" && strings.HasPrefix(top, "..2") {
			removed = append(removed, c.name)
		}
	}
	if i := slices.IndexFunc(removed, func(name string) bool { return strings.HasSuffix(name, ".json") }); i != 0 {
		t.Errorf("removed in the order %v", removed)
	}
}
