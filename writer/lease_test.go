package writer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// leased holds a lease on a file, as an app with its UID and a read-only mount can.
func leased(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	must(err)
	t.Cleanup(func() { _ = f.Close() })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("the file system has no leases: %v", err)
	}
	return f
}

// TestReconcile_lease: a file with a lease is unknown. It is neither replaced, however often its comparison fails, nor
// ignored.
func TestReconcile_lease(t *testing.T) {
	dir, repaired := testsupport.MemoryDir(t), 0
	opts := testOptions(t, dir)
	opts.Repaired = func() { repaired++ }
	w := opened(t, opts)
	publish(t, w, mixed)
	held := leased(t, filepath.Join(current(dir), "db/password"))
	for range 5 {
		reconcileAll(w)
	}
	if repaired != 0 || w.uncertain.retryAt.IsZero() {
		t.Errorf("got %d repairs, another comparison at %v", repaired, w.uncertain.retryAt)
	}
	must(held.Close())
	reconcileAll(w)
	if repaired != 0 || !w.uncertain.retryAt.IsZero() {
		t.Errorf("after the lease: got %d repairs, another comparison at %v", repaired, w.uncertain.retryAt)
	}
}

// TestStart_leases: a record with a lease is not lost. The start makes the kernel end all leases together, and waits.
func TestStart_leases(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	must(w.SetTargetRecord("webhook", notifiedRecord(1)))
	shut(t, w)
	held := []*os.File{leased(t, current(dir)+".json"), leased(t, filepath.Join(dir, generation.NotifiedFile))}
	done := make(chan error, 1)
	go func() {
		var err error
		w, err = start(testOptions(t, dir))
		done <- err
	}()
	testsupport.Eventually(t, "the kernel ends the leases", func() error {
		for _, f := range held {
			if lease, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0); err != nil || lease == unix.F_WRLCK {
				return errors.New("not yet")
			}
		}
		return nil
	})
	for _, f := range held {
		must(f.Close())
	}
	must(<-done)
	defer func() { shut(t, w) }()
	if n, known := lastNotified(w, "webhook"); w.Newest() != 1 || n != 1 || !known || w.notified.Lost {
		t.Errorf("got generation %d, notified of %d, %v, lost %v", w.Newest(), n, known, w.notified.Lost)
	}
}
