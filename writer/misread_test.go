package writer

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// The tests of this file cover defects found by the simulation of the whole program.

// misreads is a volume in which reading or examining some entries fails.
type misreads struct {
	volume.Calls
	fails func(call, name string) bool // nil: none
	errno syscall.Errno                // 0: EIO
}

func (m *misreads) fail(call, name string) error {
	if m.fails != nil && m.fails(call, name) {
		return cmp.Or(m.errno, syscall.EIO)
	}
	return nil
}

func (m *misreads) ReadDir(name string) iter.Seq2[fs.DirEntry, error] {
	if err := m.fail("list", name); err != nil {
		return func(yield func(fs.DirEntry, error) bool) { yield(nil, err) }
	}
	return m.Calls.ReadDir(name)
}

func (m *misreads) Lstat(name string) (volume.Info, error) {
	if err := m.fail("lstat", name); err != nil {
		return volume.Info{}, err
	}
	return m.Calls.Lstat(name)
}

func (m *misreads) Readlink(name string) (string, error) {
	if err := m.fail("readlink", name); err != nil {
		return "", err
	}
	return m.Calls.Readlink(name)
}

func (m *misreads) ReadFile(name string) ([]byte, error) {
	if err := m.fail("read", name); err != nil {
		return nil, err
	}
	return m.Calls.ReadFile(name)
}

// withMisreads puts a misreads before the volume of opts.
func withMisreads(opts setup) (setup, *misreads) {
	m := &misreads{}
	opts.calls = func(under volume.Calls) volume.Calls {
		m.Calls = under
		return m
	}
	return opts, m
}

// TestStart_unknown: an error that says nothing about an entry never makes the entry
// missing. The start fails, and the volume and the record of notifications stay as they
// are. The disk may fail to read a record twice.
func TestStart_unknown(t *testing.T) {
	for name, tt := range map[string]struct {
		call, name string // GEN: the current generation
		errno      syscall.Errno
		lost       bool // the record of the current generation
	}{
		"file":                    {"read", "GEN/db/password", syscall.EMFILE, false},
		"record":                  {"read", "GEN.json", syscall.EMFILE, false},
		"record of notifications": {"read", generation.NotifiedFile, syscall.ENOMEM, false},
		"volume":                  {"list", ".", syscall.ENFILE, false},
		"generation":              {"list", "GEN", syscall.EMFILE, true},
		"generation, EIO":         {"list", "GEN", syscall.EIO, true},
		"Secret in a generation":  {"list", "GEN/db", syscall.EMFILE, true},
		"mode of a file":          {"lstat", "GEN/db/password", syscall.EMFILE, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := testsupport.MemoryDir(t)
			w := opened(t, testOptions(t, dir))
			publish(t, w, mixed)
			must(w.SetTargetRecord("webhook", notifiedRecord(1)))
			gen := w.current.Load().Dir
			shut(t, w)
			if tt.lost {
				must(os.Remove(filepath.Join(dir, gen+".json")))
			}
			before := tree(t, dir)
			opts, m := withMisreads(testOptions(t, dir))
			m.errno, m.fails = tt.errno, func(call, name string) bool {
				return call == tt.call && name == strings.Replace(tt.name, "GEN", gen, 1)
			}
			if _, err := start(opts); !errors.Is(err, ErrUnusable) || !errors.Is(err, tt.errno) {
				t.Errorf("got %v, want %v", err, tt.errno)
			}
			equal(t, "volume", tree(t, dir), before)
			m.fails = nil
			w = opened(t, opts)
			equal(t, "visible", visible(t, dir), shown(generation.Nested, mixed))
			if n, known := lastNotified(w, "webhook"); n != 1 || !known {
				t.Errorf("notified of %d, %v, want 1", n, known)
			}
		})
	}
}

// TestStart_unreadableRecord: a record that the disk fails to read counts as unreadable
// after three attempts.
func TestStart_unreadableRecord(t *testing.T) {
	for _, tt := range []struct {
		record   string // a pattern
		failures int
		number   uint64
		notified uint64
	}{{"..*.json", 2, 1, 1}, {"..2*.json", 3, 2, 1}, {generation.NotifiedFile, 3, 1, 0}} {
		dir := testsupport.MemoryDir(t)
		w := opened(t, testOptions(t, dir))
		publish(t, w, mixed)
		must(w.SetTargetRecord("webhook", notifiedRecord(1)))
		shut(t, w)
		opts, m := withMisreads(testOptions(t, dir))
		reads := map[string]int{}
		m.fails = func(_, name string) bool {
			reads[name]++
			matched, _ := path.Match(tt.record, name)
			return matched && reads[name] <= tt.failures
		}
		w = opened(t, opts)
		notified, _ := lastNotified(w, "webhook")
		if n := w.Newest(); n != tt.number || notified != tt.notified {
			t.Errorf("%+v: got generation %d, notified of %d", tt, n, notified)
		}
		equal(t, "visible", visible(t, dir), shown(generation.Nested, mixed))
	}
}

// TestStart_unreadableData: the start fails if it cannot read ..data. In a volume without ..data
// it would remove everything as a leftover.
func TestStart_unreadableData(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	before := tree(t, dir)
	opts, m := withMisreads(testOptions(t, dir))
	m.fails = func(call, name string) bool { return call == "readlink" && name == generation.DataLink }
	if _, err := start(opts); !errors.Is(err, ErrUnusable) {
		t.Errorf("got %v, want ErrUnusable", err)
	}
	equal(t, "in the volume", tree(t, dir), before)
}

// TestStart_incompleteGeneration: an incomplete generation is better than none: its remaining
// files are intact.
func TestStart_incompleteGeneration(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	must(os.Remove(filepath.Join(dir, generation.DataLink, "tls", "tls.crt")))
	must(os.Remove(filepath.Join(dir, generation.DataLink)))
	opened(t, testOptions(t, dir))
	want := shown(generation.Nested, mixed)
	delete(want, "tls/tls.crt")
	equal(t, "seen", visible(t, dir), want)
}

// stopped publishes a first generation and is killed just before a call.
func stopped(t *testing.T, dir string, at func(c call) bool) {
	t.Helper()
	opts, seam := withSeam(testOptions(t, dir))
	w := opened(t, opts)
	dead := false
	seam.reset(func(_ int, c call, do func() error) error {
		if dead = dead || at(c); dead {
			return errInjected
		}
		return do()
	})
	if _, err := w.Publish(context.Background(), mixed); err == nil {
		t.Fatal("it was published")
	}
	_ = w.Close()
}

// TestStart_linksBeforeData: the links exist before ..data, also when the next start completes a
// first publish.
func TestStart_linksBeforeData(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	stopped(t, dir, func(c call) bool { return c.op == "Mkdir" && c.name == generation.Temporary })
	opts, seam := withSeam(testOptions(t, dir))
	opened(t, opts)
	swapped := false
	for _, c := range seam.recorded() {
		swapped = swapped || c.op == "Rename" && c.to == generation.DataLink
		if swapped && c.op == "Rename" && c.to != generation.DataLink {
			t.Errorf("%v after ..data", c)
		}
	}
	if !swapped {
		t.Error("..data was not put in its place")
	}
}

// TestStart_retriesLinks: if ..data cannot be restored, nobody is notified of the generation.
// Neither ..data nor a missing link waits for the sweep.
func TestStart_retriesLinks(t *testing.T) {
	for _, op := range []string{"Symlink", "Mkdir"} { // of ..data, of a Secret's directory
		dir := testsupport.MemoryDir(t)
		stopped(t, dir, func(c call) bool { return c.op == "Mkdir" && c.name == generation.Temporary })
		repaired := 0
		opts, seam := withSeam(testOptions(t, dir))
		opts.Repaired = func() { repaired++ }
		seam.step = func(_ int, c call, do func() error) error {
			if c.name == generation.Temporary && c.op == op {
				return syscall.ENOSPC
			}
			return do()
		}
		w := opened(t, opts)
		if n, state := w.Newest(), w.State(); op == "Symlink" && (n != 0 || state.Complete || state.Generation != 0) {
			t.Errorf("apps cannot get there, and the newest generation is %d, the state %+v", n, state)
		}
		if w.uncertain.retryAt.IsZero() {
			t.Errorf("without %s: it is not tried again", op)
		}
		reconcileAll(w)
		if w.uncertain.retryAt.IsZero() {
			t.Errorf("without %s, after a repair that failed: it is not tried again", op)
		}
		repaired = 0
		seam.reset(nil)
		reconcileAll(w)
		if w.Newest() != 1 || repaired != 1 || !w.uncertain.retryAt.IsZero() {
			t.Errorf("without %s, in the end: newest %d, repairs %d, unfinished %v", op, w.Newest(), repaired,
				!w.uncertain.retryAt.IsZero())
		}
		equal(t, "seen", visible(t, dir), shown(generation.Nested, mixed))
		shut(t, w)
	}
}

// TestRepair_unreadableObstacle: an entry in the way is not removed if it cannot be examined.
func TestRepair_unreadableObstacle(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	opts, m := withMisreads(testOptions(t, dir))
	w := opened(t, opts)
	publish(t, w, mixed)
	must(os.Remove(filepath.Join(dir, "db", "user")))
	m.fails = func(call, name string) bool { return call == "lstat" && name == "db" }
	reconcileAll(w)
	if got := visible(t, dir)["db/password"]; got != "old" {
		t.Errorf("db/password: got %q, want it as it was", got)
	}
	m.fails = nil
	reconcileAll(w)
	equal(t, "seen in the end", visible(t, dir), shown(generation.Nested, mixed))
}
