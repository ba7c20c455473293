package writer

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestFreshVolume_takenNames: in a volume without a generation, a foreign entry under a required name stays. Nothing
// is written, and the error ends the program.
func TestFreshVolume_takenNames(t *testing.T) {
	for _, plant := range []func(dir string){
		func(dir string) { put(dir, "db", "mine") },
		func(dir string) { put(dir, "db/x", "mine") },
		func(dir string) { must(os.Symlink("/etc", filepath.Join(dir, "db"))) },
		func(dir string) { must(syscall.Mkfifo(filepath.Join(dir, "db"), 0o600)) },
	} {
		dir := testsupport.MemoryDir(t)
		put(dir, "lost+found/x", "other")
		plant(dir)
		before := identity(t, dir)
		w := opened(t, testOptions(t, dir))
		_, err := w.Publish(context.Background(), mixed)
		if !errors.Is(err, ErrUnusable) || Reason(err) != "volume" || !strings.Contains(err.Error(), dir+"/db") {
			t.Errorf("got %v", err)
		}
		equal(t, "volume", identity(t, dir), before)
		must(os.RemoveAll(filepath.Join(dir, "db")))
		publish(t, w, mixed)
		shut(t, w)
		// Now the volume belongs to the Writer, which takes back a required name.
		must(os.RemoveAll(filepath.Join(dir, "db")))
		plant(dir)
		w = opened(t, testOptions(t, dir))
		publish(t, w, mixed)
		if got := visible(t, dir)["db/password"]; got != "old" {
			t.Errorf("db/password: got %q", got)
		}
		if got := visible(t, dir)["lost+found/x"]; got != "other" {
			t.Errorf("a foreign entry: got %q", got)
		}
	}
}

// TestFlat_withoutARecord: in the flat layout a lost record leaves files of unknown Secrets. They
// stay unchanged until the API server has answered.
func TestFlat_withoutARecord(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	opts := testOptions(t, dir)
	opts.Layout = generation.Flat
	w := opened(t, opts)
	publish(t, w, mixed)
	shut(t, w)
	must(os.Remove(current(dir) + ".json"))
	w = opened(t, opts)
	if n, set := w.Current(); n != 0 || len(set.Secrets) != 0 {
		t.Errorf("current: got %d, %v", n, set)
	}
	equal(t, "visible", visible(t, dir), shown(generation.Flat, mixed))
	if n := publish(t, w, mixed); n != 2 {
		t.Errorf("got generation %d, want 2", n)
	}
	equal(t, "visible", visible(t, dir), shown(generation.Flat, mixed))
}

// TestNumbers_areNotUsedAgain: a number is never used twice if a target was notified of it, even if records were lost.
func TestNumbers_areNotUsedAgain(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, fewer)
	n := publish(t, w, mixed)
	must(w.SetTargetRecord("x", notifiedRecord(n)))
	shut(t, w)
	entries, err := os.ReadDir(dir)
	must(err)
	for _, e := range entries {
		if e.Name() != generation.NotifiedFile {
			must(os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	w = opened(t, testOptions(t, dir))
	if got := publish(t, w, mixed); got != n+1 {
		t.Errorf("got generation %d, want %d", got, n+1)
	}
	if c := w.ChangesSince(n); len(c.Changed) != len(shown(generation.Nested, mixed)) {
		t.Errorf("what is pending since %d: got %+v", n, c)
	}
}

func TestNotified_lostRecord(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	n := publish(t, w, mixed)
	must(w.SetTargetRecord("a", notifiedRecord(n)))
	must(w.SetTargetRecord("b", notifiedRecord(n)))
	shut(t, w)
	put(dir, generation.NotifiedFile, "garbage")
	w = opened(t, testOptions(t, dir))
	must(w.SetTargetRecord("a", notifiedRecord(n))) // and a crash before b was notified
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if got, known := lastNotified(w, "b"); got != 0 || !known {
		t.Errorf("b: got %d %v, want 0 true", got, known)
	}
	if got, known := lastNotified(w, "a"); got != n || !known {
		t.Errorf("a: got %d %v, want %d true", got, known, n)
	}
}

func TestOpen_secondWriter(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	if _, err := start(testOptions(t, dir)); !errors.Is(err, ErrUnusable) {
		t.Errorf("got %v, want ErrUnusable", err)
	}
	shut(t, w)
	opened(t, testOptions(t, dir))
}

// TestOpen_waitsForTheLock: if the last process was killed while it started a command, the command
// holds the lock until it runs its program.
func TestOpen_waitsForTheLock(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	time.AfterFunc(200*time.Millisecond, func() { _ = w.Close() })
	opened(t, testOptions(t, dir))
}

// TestGraceBounds: the limits of the grace period are 10 s, 16 generations, and the size of the newest generation or 1
// MiB. The last replaced generation always stays.
func TestGraceBounds(t *testing.T) {
	sized := func(n, size int) Content { return one("db", files(itoa(n), "k", strings.Repeat(itoa(n%10), size))) }
	for _, tt := range []struct {
		name  string
		sizes []int
		wait  time.Duration
		want  int // remaining old generations
		then  int // and after another publish by the next process
	}{
		{"time", []int{1, 2, 3}, 11 * time.Second, 0, 1},
		{"within the time", []int{1, 2, 3}, 9 * time.Second, 2, 3},
		{"count", slices.Repeat([]int{10}, 40), 0, 16, 16},
		{"size", slices.Repeat([]int{490 << 10}, 12), 0, 2, 2},
		{"small ones by count", slices.Repeat([]int{8 << 10}, 40), 0, 16, 16},
		{"just replaced and large", []int{900 << 10, 900 << 10, 900 << 10, 3 << 20, 1}, 0, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, c := testsupport.MemoryDir(t), newClock()
			opts := testOptions(t, dir)
			opts.now = c.Now
			w := opened(t, opts)
			for i, size := range tt.sizes {
				publish(t, w, sized(i, size))
			}
			c.Add(tt.wait)
			runDue(w)
			if got := len(w.old); got != tt.want {
				t.Errorf("old generations: got %d, want %d", got, tt.want)
			}
			shut(t, w)
			w = opened(t, opts) // the next process respects the limits, too
			if got := len(w.old); got != tt.want {
				t.Errorf("after a restart: got %d, want %d", got, tt.want)
			}
			publish(t, w, sized(len(tt.sizes), tt.sizes[len(tt.sizes)-1]))
			if got, want := len(w.old), tt.then; got != want {
				t.Errorf("after one more: got %d, want %d", got, want)
			}
		})
	}
}

// TestGraceBounds_emptyKeys: an empty file counts as a page, because it occupies an inode. So do directories and the
// record. The next process does not count the directories.
func TestGraceBounds_emptyKeys(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	for n := range 4 {
		content := files(itoa(n), "version", itoa(n))
		for i := range 300 {
			content.Values[itoa(i)] = nil
		}
		publish(t, w, one("db", content))
	}
	if n, size := len(w.old), w.old[0].size>>12; n != 1 || size < 301+2+1 || size > 301+2+20 {
		t.Errorf("got %d old generations of %d pages, want 1 of a page for each entry", n, size)
	}
	want := w.old[0].size - 2<<12
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if len(w.old) != 1 || w.old[0].size != want {
		t.Errorf("after a restart: got %+v, want a generation of %d bytes", w.old, want)
	}
}

// TestFirstGeneration_afterAnIdleStart: the notifier counts generation 1 as notified in advance,
// so the first generation in an empty volume is not announced. If a start publishes nothing
// because the API server is unavailable, the next start must still use this number.
func TestFirstGeneration_afterAnIdleStart(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	must(w.SetTargetRecord("process", notifiedRecord(1)))
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if got := publish(t, w, mixed); got != 1 {
		t.Errorf("got generation %d, want 1", got)
	}
}

// TestComplete_sameGeneration: if only the completeness changes, Publish makes no new generation.
// It replaces the record, which is on disk when Publish returns.
func TestComplete_sameGeneration(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	opts, seam := withSeam(testOptions(t, dir))
	w := opened(t, opts)
	publish(t, w, incomplete(mixed))
	if err := Ready(dir); err == nil {
		t.Error("ready before all was there")
	}
	seam.reset(func(_ int, c call, do func() error) error {
		if c.op == "Rename" {
			return syscall.EIO
		}
		return do()
	})
	if _, err := w.Publish(context.Background(), mixed); err == nil {
		t.Error("published, and the record was not written")
	}
	seam.reset(nil)
	if n := publish(t, w, mixed); n != 1 {
		t.Errorf("got generation %d, want 1", n)
	}
	if err := Ready(dir); err != nil {
		t.Error(err)
	}
	if _, set := w.Current(); !set.Complete {
		t.Error("the current set is not complete")
	}
}

// TestDue_first: Run wakes at the end of the oldest grace period, or earlier for a retry.
func TestDue_first(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts := testOptions(t, dir)
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, fewer)
	if due := w.due(); !due.Equal(w.nextSweep) {
		t.Errorf("with nothing to do: got %v, want the next step of the sweep", due)
	}
	publish(t, w, mixed)
	end := w.old[0].at.Add(grace)
	w.nextSweep = end.Add(sweepPeriod)
	for again, want := range map[time.Time]time.Time{{}: end, end.Add(1): end, end.Add(-1): end.Add(-1)} {
		if w.uncertain.retryAt = again; !w.due().Equal(want) {
			t.Errorf("to be tried again at %v: got %v, want %v", again, w.due(), want)
		}
	}
}

// TestRecords_order: the record of a generation is removed last, so the next start recognizes the rest as an old
// generation after a crash. The record of a notification is on disk when SetTargetRecord returns.
func TestRecords_order(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts, seam := withSeam(testOptions(t, dir))
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, fewer)
	old := filepath.Base(current(dir))
	publish(t, w, mixed)
	c.Add(grace + time.Second)
	seam.reset(nil)
	runDue(w)
	calls := seam.recorded()
	first := slices.IndexFunc(calls, func(c call) bool { return c.op == "Remove" && c.name == old+".json" })
	if first != len(calls)-1 {
		t.Errorf("call %d of %d removes the record of %s, want the last", first+1, len(calls), old)
	}
	seam.reset(nil)
	must(w.SetTargetRecord("webhook", notifiedRecord(2)))
	calls = seam.recorded()
	if last := calls[len(calls)-1]; last.op != "SyncDir" || last.name != "." {
		t.Errorf("after the record's rename: got %v, want a sync of the volume", last)
	}
}

// TestSecret_withoutFiles: while no process ran, a Secret lost all of its files and was deleted
// from the API server. It stays an empty directory.
func TestSecret_withoutFiles(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	must(os.RemoveAll(filepath.Join(dir, generation.DataLink, "tls")))
	w = opened(t, testOptions(t, dir))
	_, found := w.Current()
	found.Complete = true
	publish(t, w, found)
	entries, err := os.ReadDir(filepath.Join(dir, "tls", generation.DataLink))
	if err != nil || len(entries) > 0 {
		t.Errorf("got %v, %v, want an empty directory", entries, err)
	}
}

// TestRebuild_reservedNames: someone put files under reserved names into a generation without a
// record. They are not counted as files of a Secret: no generation could contain them.
func TestRebuild_reservedNames(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	current := w.current.Load().Dir
	shut(t, w)
	put(dir, generation.RecordName(current), "garbage")
	put(dir, current+"/db/..planted", "evil")
	put(dir, current+"/..planted/file", "evil")
	w = opened(t, testOptions(t, dir))
	_, found := w.Current()
	equal(t, "found", shown(generation.Nested, found), shown(generation.Nested, mixed))
}

// TestUnconfirmed_changedFile: someone changed a file while no process ran. Until all Secrets are
// confirmed, this is no change of its Secret: the same generation restores the file.
func TestUnconfirmed_changedFile(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	put(dir, generation.DataLink+"/tls/tls.crt", "changed")
	w = opened(t, testOptions(t, dir))
	_, found := w.Current()
	partly := incomplete(mixed)
	partly.Secrets = maps.Clone(mixed.Secrets)
	partly.Secrets["tls"] = found.Secrets["tls"]
	for _, set := range []Content{partly, mixed} {
		if n := publish(t, w, set); n != 1 {
			t.Errorf("got generation %d, want 1", n)
		}
	}
	equal(t, "volume", visible(t, dir), shown(generation.Nested, mixed))
}

// TestReady_withoutAFile: a generation is not ready if a file is missing, and the error names the file.
func TestReady_withoutAFile(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	publish(t, opened(t, testOptions(t, dir)), mixed)
	must(os.Remove(filepath.Join(dir, generation.DataLink, "tls", "tls.crt")))
	if err := Ready(dir); err == nil || !strings.Contains(err.Error(), "tls/tls.crt") {
		t.Errorf("got %v, want the file that is missing", err)
	}
}

// TestRebuild_allChanged: changes before the loss of a record are unknown, so all paths count as
// changed.
func TestRebuild_allChanged(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, fewer)
	current := w.current.Load().Dir
	shut(t, w)
	put(dir, generation.RecordName(current), "garbage")
	w = opened(t, testOptions(t, dir))
	if got := w.ChangesSince(0); len(got.Changed) != 3 || len(got.Added) != 0 {
		t.Errorf("got %+v, want all three as changed", got)
	}
}
