package writer

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/volume"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestOwnWrites_causeNoRepair: the Writer's own writes cause no repair. The test makes all kinds of publishes. A last
// change by another process shows when all earlier events have been examined.
func TestOwnWrites_causeNoRepair(t *testing.T) {
	for _, layout := range layouts {
		r := newRunningWriter(t, layout, time.Hour, newEvents, nil)
		for i := range 60 {
			publish(t, r.Writer, []Content{mixed, changes, fewer}[i%3])
			must(r.SetTargetRecord("webhook", notifiedRecord(r.Newest())))
		}
		must(os.WriteFile(filepath.Join(r.dir, "foreign"), nil, 0o644))
		until(t, "the last event", func() bool { return r.log.Count("unknown entry") > 0 })
		if n := r.repairs.Load(); n != 0 {
			t.Errorf("got %d repairs, want 0", n)
		}
	}
}

// listings counts how often the volume is listed: each reconciliation lists it.
type listings struct {
	volume.Calls
	count *atomic.Int64
}

func (l listings) ReadDir(name string) iter.Seq2[fs.DirEntry, error] {
	if name == "." {
		l.count.Add(1)
	}
	return l.Calls.ReadDir(name)
}

// TestEvents_ownWrites: the writer's own writes do not lead to a
// reconciliation either. The writer examines only the entry of each event.
func TestEvents_ownWrites(t *testing.T) {
	var listed atomic.Int64
	r := newRunningWriter(t, generation.Nested, time.Hour, newEvents, nil)
	r.mu.Lock()
	r.vol.Calls = listings{r.vol.Calls, &listed}
	r.mu.Unlock()
	for i := range 2 { // the second time counts: in the first, links and directories come and go
		listed.Store(0)
		for n := range 30 {
			publish(t, r.Writer, one("db", files(itoa(n), "password", itoa(n))))
		}
		must(os.WriteFile(filepath.Join(r.dir, "foreign"+itoa(i)), nil, 0o644))
		until(t, "the last event", func() bool { return r.log.Count("unknown entry") > i })
	}
	if n := listed.Load(); n > 0 {
		t.Errorf("the volume was listed %d times, want never", n)
	}
}

// TestStorm: if another process undoes the repairs, the Writer makes a limited number of repairs and logs a single
// warning. It repairs everything once the process stops.
func TestStorm(t *testing.T) {
	const burst = 5
	r := newRunningWriter(t, generation.Nested, time.Hour, newEvents,
		rate.NewLimiter(rate.Every(100*time.Millisecond), burst))
	began := time.Now()
	for r.log.Count("another process keeps changing") == 0 || time.Since(began) < time.Second {
		_ = os.WriteFile(filepath.Join(current(r.dir), "db/password"), []byte("evil"), 0o644)
		_ = os.Remove(filepath.Join(r.dir, "db/user"))
	}
	most := burst + int64(time.Since(began)/(100*time.Millisecond)) + 2
	if n := r.repairs.Load(); n > most {
		t.Errorf("got %d repairs, want %d at most", n, most)
	}
	until(t, "repaired after the storm", r.intact)
	if n := r.log.Count("another process keeps changing"); n != 1 {
		t.Errorf("got %d warnings, want 1", n)
	}
	equal(t, "visible", visible(t, r.dir), shown(generation.Nested, mixed))
	t.Logf("%d repairs in %v", r.repairs.Load(), time.Since(began))
}

// TestStorm_rate: another process undoes each repair for a minute. The Writer makes ten repairs immediately, then a
// repair every 2 s, and logs a single warning. Afterward it repairs immediately again.
func TestStorm_rate(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	var log testsupport.Log
	var repairs []time.Duration
	began := c.Now()
	opts := testOptions(t, dir)
	opts.now, opts.watch = c.Now, newEvents
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	opts.Repaired = func() { repairs = append(repairs, c.Now().Sub(began).Round(100*time.Millisecond)) }
	w := opened(t, opts)
	publish(t, w, mixed)
	must(w.events.close())
	w.sweepPeriod, w.nextSweep = time.Hour, c.Now().Add(time.Hour)
	change := func() {
		put(current(dir), "db/password", "evil")
		w.events.report("", 0)
		w.locked(func() { w.checkEvents(t.Context()) })
	}
	var want []time.Duration
	for range repairBurst {
		want = append(want, 0)
		change()
	}
	for second := range 60 {
		if second > 0 && second%2 == 0 {
			want = append(want, time.Duration(second)*time.Second)
		}
		for range 10 {
			change()
			if !w.due().After(c.Now()) {
				runDue(w)
			}
			c.Add(100 * time.Millisecond)
		}
	}
	if !slices.Equal(repairs, want) {
		t.Errorf("got repairs at %v, want %v", repairs, want)
	}
	if n := log.Count("another process keeps changing"); n != 1 {
		t.Errorf("got %d warnings, want 1", n)
	}
	c.Add(time.Minute)
	runDue(w)
	change()
	equal(t, "visible after the storm", visible(t, dir), shown(generation.Nested, mixed))
}

// TestEvents_movedAndDeletedDirectory: when a directory is moved away and deleted, fsnotify
// reports an error while it holds its lock. The goroutine that receives the error must not wait
// for this lock.
func TestEvents_movedAndDeletedDirectory(t *testing.T) {
	r := newRunningWriter(t, generation.Nested, time.Hour, newEvents, rate.NewLimiter(rate.Inf, 1000))
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			away := filepath.Join(r.dir, fmt.Sprintf("away%d", i%3))
			_ = os.Rename(filepath.Join(r.dir, "db"), away)
			_ = os.RemoveAll(away)
		}
	})
	for i := range 150 {
		_, _ = r.Publish(context.Background(), []Content{mixed, changes}[i%2])
	}
	close(stop)
	group.Wait()
	publish(t, r.Writer, fewer)
	until(t, "repaired", r.intact)
	equal(t, "visible", visible(t, r.dir), shown(generation.Nested, fewer))
}

// TestRepair_failsAndIsTriedAgain: a failed repair is retried.
func TestRepair_failsAndIsTriedAgain(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts, seam := withSeam(testOptions(t, dir))
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, mixed)
	before := tree(t, dir)
	put(current(dir), "db/password", "evil")
	seam.reset(func(int, call, func() error) error { return syscall.EIO })
	reconcileAll(w)
	if !w.uncertain.retryAt.After(c.Now()) {
		t.Error("a repair that failed is not tried again")
	}
	seam.reset(nil)
	reconcileAll(w)
	equal(t, "visible", visible(t, dir), shown(generation.Nested, mixed))
	endGracePeriods(w, c)
	equal(t, "in the end", tree(t, dir), before)
}

// TestReconcile_otherTargetOfData: nothing is removed while ..data does not point to this
// generation: apps may read the other target.
func TestReconcile_otherTargetOfData(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts, seam := withSeam(testOptions(t, dir))
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, mixed)
	before := tree(t, dir)
	const other = "..2031_01_01_00_00_00.1"
	must(os.CopyFS(filepath.Join(dir, other), os.DirFS(current(dir))))
	relink(dir, other)
	seam.reset(func(_ int, call call, do func() error) error {
		if call.op == "Symlink" {
			return syscall.EIO
		}
		return do()
	})
	reconcileAll(w)
	equal(t, "visible while the link cannot be made", visible(t, dir), shown(generation.Nested, mixed))
	seam.reset(nil)
	reconcileAll(w)
	equal(t, "in the end", tree(t, dir), before)
}
