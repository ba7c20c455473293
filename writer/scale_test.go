package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// manySecrets returns n Secrets with the given number of keys each. The value of the
// first key is the version.
func manySecrets(n, keys int, version string) Content {
	c := Content{Complete: true, Secrets: map[string]Files{}}
	for i := range n {
		f := Files{UID: "uid", ResourceVersion: "1", Values: map[string]secret.Value{}}
		for k := range keys {
			f.Values[fmt.Sprintf("key%d", k)] = secret.Value("value")
		}
		c.Secrets[fmt.Sprintf("secret%d", i)] = f
	}
	c.Secrets["secret0"].Values["key0"] = secret.Value(version)
	return c
}

// cpu returns the CPU time used by this process.
func cpu() time.Duration {
	var u unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// idle waits until the Writer has examined the events of a marker, and so all events
// before it.
func (r *runningWriter) idle(t testing.TB, marker string) {
	t.Helper()
	warnings := r.log.Count("unknown entry")
	must(os.WriteFile(filepath.Join(r.dir, marker), nil, 0o600))
	for deadline := time.Now().Add(2 * time.Minute); r.log.Count("unknown "+
		"entry") == warnings; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the Writer does not become idle")
		}
	}
}

// BenchmarkPublishUntilIdle measures the CPU time from the first publish of many
// Secrets until the Writer has processed the events of its own writes. The time per
// Secret must not grow with their number.
func BenchmarkPublishUntilIdle(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var total time.Duration
			for i := range b.N {
				r := newRunningWriter(b, generation.Nested, time.Hour, newEvents, nil)
				content := manySecrets(n, 2, "1")
				before := cpu()
				publish(b, r.Writer, content)
				r.idle(b, fmt.Sprint("marker", i))
				total += cpu() - before
			}
			b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "cpu-ms")
			b.ReportMetric(float64(total.Microseconds())/float64(b.N)/float64(n), "cpu-µs/Secret")
		})
	}
}

// BenchmarkChangeOfOneKey measures the CPU time of a change of a single key, with the
// removal of an old generation.
func BenchmarkChangeOfOneKey(b *testing.B) {
	for _, secrets := range []int{200, 2000} {
		b.Run(fmt.Sprintf("%d keys", secrets*10), func(b *testing.B) {
			opts := quiet(testOptions(b, testsupport.MemoryDir(b)))
			opts.now = time.Now
			w := opened(b, opts)
			contents := []Content{manySecrets(secrets, 10, "1"), manySecrets(secrets, 10, "2")}
			publish(b, w, contents[1])
			publish(b, w, contents[0])
			before := cpu()
			for i := range b.N {
				publish(b, w, contents[(i+1)%2])
			}
			b.ReportMetric(float64((cpu()-before).Milliseconds())/float64(b.N), "cpu-ms")
		})
	}
}

// TestEvents_newSecrets: a publish with new Secrets lists the volume once,
// in step 11. The events of its directories cause no further reconciliation. Before,
// every new directory caused a comparison of the whole volume.
func TestEvents_newSecrets(t *testing.T) {
	var listed atomic.Int64
	r := newRunningWriter(t, generation.Nested, time.Hour, newEvents, nil)
	r.mu.Lock()
	r.vol.Calls = listings{r.vol.Calls, &listed}
	r.mu.Unlock()
	r.idle(t, "first")
	listed.Store(0)
	for n := range 20 {
		publish(t, r.Writer, manySecrets(5*(n+1), 1, "1"))
		r.idle(t, fmt.Sprint("marker", n))
	}
	if got := listed.Load(); got != 20 {
		t.Errorf("the volume was listed %d times, want once per publish, 20", got)
	}
	if got := r.repairs.Load(); got != 0 {
		t.Errorf("got %d repairs, want none", got)
	}
}

// TestPublish_fewDescriptors publishes more directories than the process may open files. The
// child has a lower limit.
func TestPublish_fewDescriptors(t *testing.T) {
	if out, err := child("descriptors", testsupport.MemoryDir(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func descriptorsChild(args []string) error {
	limit := unix.Rlimit{Cur: 32, Max: 32}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	w, err := start(childOptions(args[0]))
	if err != nil {
		return err
	}
	for _, version := range []string{"1", "2"} {
		if _, err := w.Publish(context.Background(), manySecrets(100, 2, version)); err != nil {
			return err
		}
	}
	var held []*os.File
	for err == nil {
		var f *os.File
		if f, err = os.Open("/dev/null"); err == nil {
			held = append(held, f)
		}
	}
	reconcileAll(w) // nothing can be compared: nothing is repaired
	_, err = w.Publish(context.Background(), manySecrets(100, 2, "3"))
	if Reason(err) != "too_many_files" || !strings.Contains(err.Error(), "ulimit") {
		return fmt.Errorf("without descriptors: got %v", err)
	}
	for _, f := range held {
		_ = f.Close()
	}
	return expect(args[0], manySecrets(100, 2, "2"))
}

// TestPublish_tooLargeRecord: an unreadably large record is refused before the
// swap.
func TestPublish_tooLargeRecord(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, quiet(testOptions(t, dir)))
	publish(t, w, mixed)
	before := tree(t, dir)
	many := files("2")
	for i := range volume.MaxFile / 30 {
		many.Values[fmt.Sprint("a-long-name-of-a-key-", i)] = nil
	}
	if _, err := w.Publish(t.Context(), one("db", many)); Reason(err) != "too_large" {
		t.Errorf("got %v, want that the record is too large", err)
	}
	equal(t, "after the refusal", tree(t, dir), before)
}

// TestPublish_stopsWithItsContext: a publish makes no further file after the end of its
// context. The next start removes the others without a warning.
func TestPublish_stopsWithItsContext(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	opts, seam := withSeam(testOptions(t, dir))
	w := opened(t, opts)
	publish(t, w, mixed)
	before := tree(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	created := 0
	seam.reset(func(_ int, c call, do func() error) error {
		if c.op == "Create" {
			if created++; created == 10 {
				cancel()
			}
		}
		return do()
	})
	if _, err := w.Publish(ctx, manySecrets(100, 1, "1")); !errors.Is(err, context.Canceled) || created != 10 {
		t.Errorf("got %v after %d files, want the end after 10", err, created)
	}
	if _, err := w.Publish(ctx, changes); !errors.Is(err, context.Canceled) {
		t.Errorf("a publish after the end: got %v", err)
	}
	seam.reset(nil)
	shut(t, w)
	log := &testsupport.Log{}
	opts = testOptions(t, dir)
	opts.Logger = log.Logger(slog.LevelWarn)
	runDue(opened(t, opts))
	equal(t, "after the next start", tree(t, dir), before)
	if log.String() != "" {
		t.Errorf("got a warning: %s", log)
	}
}

// TestOpen_stopsWithItsContext: a start reads no further file after the end of its
// context, and changes nothing.
func TestOpen_stopsWithItsContext(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, manySecrets(100, 1, "1"))
	shut(t, w)
	before := tree(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	vol, err := volume.Open(ctx, dir)
	must(err)
	reads := 0
	m := &misreads{Calls: vol.Calls, fails: func(call, _ string) bool {
		if call == "read" {
			if reads++; reads == 20 {
				cancel()
			}
		}
		return false
	}}
	if _, err := New(ctx, m, testOptions(t, dir).Options); !errors.Is(err, context.Canceled) || reads != 20 {
		t.Errorf("got %v after %d reads, want the end after 20", err, reads)
	}
	equal(t, "after the stopped start", tree(t, dir), before)
}

// TestSweep_spreadsItsReads: a step of the sweep compares a limited number of entries,
// and a whole sweep finds every change.
func TestSweep_spreadsItsReads(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	var reads int
	opts := quiet(testOptions(t, dir))
	opts.calls = func(under volume.Calls) volume.Calls {
		return &misreads{Calls: under, fails: func(call, _ string) bool {
			if call == "read" {
				reads++
			}
			return false
		}}
	}
	repaired := 0
	opts.Repaired = func() { repaired++ }
	w := opened(t, opts)
	content := manySecrets(10, 50, "1") // about 1,000 entries
	publish(t, w, content)
	if got := w.sweepInterval(); got > sweepPeriod/9 || got < time.Second {
		t.Errorf("got a step every %v", got)
	}
	damaged := []string{generation.DataLink + "/secret0/key0", generation.DataLink + "/secret9/key49", "secret5/key7",
		"secret3", "record"}
	for _, name := range damaged {
		if name == "record" {
			name = generation.RecordName(w.current.Load().Dir)
		}
		must(os.RemoveAll(filepath.Join(dir, name)))
		steps := 0
		for was := repaired; repaired == was && steps < 30; steps++ {
			reads = 0
			sweepOnce(w)
			if repaired == was && reads > sweepStep+3 {
				t.Errorf("a step reads %d files", reads)
			}
		}
		if steps == 30 {
			t.Errorf("%s: not repaired within 30 steps", name)
		}
		equal(t, name, visible(t, dir), shown(generation.Nested, content))
	}
}

func sweepOnce(w *Writer) {
	w.locked(func() { w.nextSweep = w.now(); w.compare(context.Background()) })
}
