package writer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// runningWriter is a Writer with its Run.
type runningWriter struct {
	*Writer
	dir     string
	repairs atomic.Int64
	log     testsupport.Log
}

func newRunningWriter(t testing.TB, layout Layout, sweep time.Duration, watch func(Options) *events,
	limit *rate.Limiter) *runningWriter {
	t.Helper()
	r := &runningWriter{dir: testsupport.MemoryDir(t)}
	opts := testOptions(t, r.dir)
	opts.Layout, opts.now, opts.watch = layout, time.Now, watch
	opts.Logger = slog.New(slog.NewTextHandler(&r.log, nil))
	opts.Repaired = func() { r.repairs.Add(1) }
	w, err := start(opts)
	if err != nil {
		t.Fatal(err)
	}
	r.Writer, w.sweepPeriod, w.nextSweep = w, sweep, time.Now().Add(sweep)
	if limit != nil {
		w.limit = limit
	}
	publish(t, w, mixed)
	must(w.SetTargetRecord("webhook", notifiedRecord(1)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; _ = w.Close() })
	return r
}

// intact reports whether the volume matches the current generation.
func (r *runningWriter) intact() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(mismatches(r.Writer)) == 0
}

// until polls the file system, which another goroutine repairs.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	untilWithin(t, 2*grace, what, ok)
}

// atOnce is until before the end of a grace, at which all is compared.
func atOnce(t *testing.T, what string, ok func() bool) {
	t.Helper()
	untilWithin(t, grace/2, what, ok)
}

func untilWithin(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	testsupport.EventuallyWithin(t, limit, what, func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
}

// targets are the kinds of entries, by layout: the path below DIR.
func targets(layout Layout, dir string) map[string]string {
	gen := filepath.Base(current(dir))
	all := map[string]string{
		"..data": generation.DataLink, "generation": gen, "record": gen + ".json", "notified": generation.NotifiedFile,
	}
	if layout == generation.Flat {
		maps.Copy(all, map[string]string{"link": "password", "link to a directory": "conf", "file": gen + "/password",
			"directory in it": gen + "/conf"})
	} else {
		maps.Copy(all, map[string]string{
			"Secret": "db", "Secret's ..data": "db/..data", "link": "db/password",
			"file": gen + "/db/password", "Secret in the generation": gen + "/db", "directory in it": gen + "/db/conf",
		})
	}
	return all
}

// changesTo are the changes of an entry at p by another process; false for
// impossible changes.
var changesTo = map[string]func(p string, info os.FileInfo) bool{
	"delete": func(p string, _ os.FileInfo) bool { must(os.RemoveAll(p)); return true },
	"overwrite": func(p string, info os.FileInfo) bool {
		if !info.Mode().IsRegular() {
			return false
		}
		must(os.WriteFile(p, []byte("evil"), 0o644))
		return true
	},
	"overwrite by as many bytes": func(p string, info os.FileInfo) bool {
		if !info.Mode().IsRegular() {
			return false
		}
		must(os.WriteFile(p, bytes.Repeat([]byte("x"), int(info.Size())), 0o644))
		return true
	},
	"chmod": func(p string, info os.FileInfo) bool {
		if info.Mode()&os.ModeSymlink != 0 || strings.HasSuffix(p, generation.NotifiedFile) {
			return false
		}
		must(os.Chmod(p, 0o700))
		return true
	},
	"rename": func(p string, _ os.FileInfo) bool { must(os.Rename(p, p+".away")); return true },
	"by a directory": func(p string, _ os.FileInfo) bool {
		must(os.RemoveAll(p))
		must(os.MkdirAll(p+"/x/y", 0o755))
		return true
	},
	"by a link out": func(p string,
		_ os.FileInfo) bool {
		must(os.RemoveAll(p))
		must(os.Symlink("/etc", p))
		return true
	},
	"by a FIFO": func(p string,
		_ os.FileInfo) bool {
		must(os.RemoveAll(p))
		must(syscall.Mkfifo(p, 0o644))
		return true
	},
	"by a file renamed over it": func(p string, info os.FileInfo) bool {
		if info.IsDir() {
			return false
		}
		must(os.WriteFile(p+".new", []byte("evil"), 0o644))
		must(os.Rename(p+".new", p))
		return true
	},
	"an extra entry in it": func(p string, info os.FileInfo) bool {
		if !info.IsDir() || filepath.Base(p) == "db" && !strings.Contains(p, "..") {
			return false // others may have entries in a Secret's directory
		}
		must(os.WriteFile(p+"/more", nil, 0o644))
		return true
	},
	"moved away, changed and moved back": func(p string, info os.FileInfo) bool {
		if !info.IsDir() {
			return false
		}
		must(os.Rename(p, p+".away"))
		must(os.RemoveAll(p + ".away/password"))
		must(os.Rename(p+".away", p))
		return !strings.HasSuffix(p, "conf")
	},
}

// TestRepair: each change of each kind of entry is repaired immediately, or by the sweep where there is no inotify; the
// number stays.
func TestRepair(t *testing.T) {
	cases := 0
	for _, layout := range layouts {
		for _, way := range []string{"inotify", "sweep"} {
			watch, sweep := newEvents, time.Hour
			if way == "sweep" {
				watch, sweep = noEvents, time.Millisecond
			}
			r := newRunningWriter(t, layout, sweep, watch, rate.NewLimiter(rate.Inf, 1000))
			for kind := range targets(layout, r.dir) {
				for what, do := range changesTo {
					name := fmt.Sprintf("%s, %s, %s, %v", way, kind, what, layout)
					p := filepath.Join(r.dir, targets(layout, r.dir)[kind])
					info, err := os.Lstat(p)
					must(err)
					r.mu.Lock() // no repair between the steps of a change
					done := do(p, info)
					r.mu.Unlock()
					if !done {
						continue
					}
					cases++
					atOnce(t, name, r.intact)
					equal(t, name, withoutAway(visible(t, r.dir)), shown(layout, mixed))
					if n := r.Newest(); n != 1 {
						t.Fatalf("%s: got generation %d, want 1", name, n)
					}
					for _, e := range must2(os.ReadDir(r.dir)) {
						if strings.HasSuffix(e.Name(), ".away") || strings.HasSuffix(e.Name(), ".new") {
							must(os.RemoveAll(filepath.Join(r.dir, e.Name())))
						}
					}
					atOnce(t, name+" and cleaned", r.intact)
				}
			}
			if r.repairs.Load() == 0 {
				t.Error("no repair was counted")
			}
		}
	}
	t.Logf("%d changes", cases)
}

func must2[T any](v T, err error) T { must(err); return v }

// withoutAway leaves out the entries moved aside by the test itself.
func withoutAway(seen map[string]string) map[string]string {
	maps.DeleteFunc(seen, func(p, _ string) bool { return strings.Contains(p, ".away") })
	return seen
}

// TestRepair_changedBeforeItIsWatched: the kernel watches the directories of a generation once apps see it. Earlier
// changes by another process are undone when the grace period of the replaced generation ends.
func TestRepair_changedBeforeItIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := testsupport.MemoryDir(t)
		opts, seam := withSeam(testOptions(t, dir))
		opts.now = time.Now
		w := opened(t, opts)
		go func() { _ = w.Run(t.Context()) }()
		publish(t, w, mixed)
		seam.reset(func(_ int, call call, do func() error) error {
			err := do()
			if call.op == "Rename" && call.to == generation.DataLink {
				put(current(dir), "db/password", "evil")
			}
			return err
		})
		publish(t, w, changes)
		seam.reset(nil)
		time.Sleep(grace)
		synctest.Wait()
		equal(t, "visible", visible(t, dir), shown(generation.Nested, changes))
	})
}

// TestCompare_startsAgainAfterAGracePeriod: the first comparison after a grace period
// is a first step of the sweep.
func TestCompare_startsAgainAfterAGracePeriod(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, quiet(testOptions(t, dir)))
	runDue(w)
	publish(t, w, manySecrets(10, 50, "1"))
	w.swept = 5 * sweepStep
	must(os.Remove(filepath.Join(current(dir), "secret0", "key0")))
	runDue(w)
	equal(t, "visible", visible(t, dir), shown(generation.Nested, manySecrets(10, 50, "1")))
	if w.swept != 5*sweepStep {
		t.Errorf("the sweep continues at entry %d, want %d", w.swept, 5*sweepStep)
	}
}

// TestRepair_watchedAfterEachPublish: a generation whose links were there before is watched as
// well, and does not wait for the end of a grace.
func TestRepair_watchedAfterEachPublish(t *testing.T) {
	r := newRunningWriter(t, generation.Nested, time.Hour, newEvents, nil)
	for i := range 3 {
		publish(t, r.Writer, one("db", files(itoa(2*i+2), "password", "one")))
		publish(t, r.Writer, one("db", files(itoa(2*i+3), "password", "another")))
		must(os.WriteFile(filepath.Join(current(r.dir), "db/password"), []byte("evil"), 0o644))
		atOnce(t, "repaired", func() bool { return r.repairs.Load() == int64(i+1) })
	}
}
