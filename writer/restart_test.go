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
