package writer

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// TestMisread_replacedAtTheThirdTime: if the disk fails to read a file, the file is
// replaced after three comparisons, and not before. If only a resource is missing,
// it is never replaced.
func TestMisread_replacedAtTheThirdTime(t *testing.T) {
	for errno, want := range map[syscall.Errno][]int{
		syscall.EIO: {0, 0, 1, 1}, syscall.EMFILE: {0, 0, 0, 0}, syscall.ENFILE: {0, 0, 0, 0}, syscall.ENOMEM: {0, 0,
			0, 0},
	} {
		dir, repaired := testsupport.MemoryDir(t), 0
		opts := testOptions(t, dir)
		opts.Repaired = func() { repaired++ }
		u := &unreadable{errno: errno}
		opts.calls = func(under volume.Calls) volume.Calls { u.Calls = under; return u }
		w := opened(t, opts)
		publish(t, w, mixed)
		u.name = path.Join(w.current.Load().Dir, "db/user")
		for i, want := range want {
			reconcileAll(w)
			if repaired != want {
				t.Errorf("%v, comparison %d: got %d repairs, want %d", errno, i+1, repaired, want)
			}
			if pending := !w.uncertain.retryAt.IsZero(); pending != (repaired == 0) {
				t.Errorf("%v, comparison %d: another one is pending: %v", errno, i+1, pending)
			}
		}
		equal(t, errno.Error(), visible(t, dir), shown(generation.Nested, mixed))
	}
}

// TestMisread_successStartsAgain: only failures in a row count.
func TestMisread_successStartsAgain(t *testing.T) {
	repaired, u := 0, &unreadable{errno: syscall.EIO}
	opts := testOptions(t, testsupport.MemoryDir(t))
	opts.Repaired = func() { repaired++ }
	opts.calls = func(under volume.Calls) volume.Calls { u.Calls = under; return u }
	w := opened(t, opts)
	publish(t, w, mixed)
	file := path.Join(w.current.Load().Dir, "db/user")
	for _, u.name = range []string{file, file, "", file, file} {
		reconcileAll(w)
	}
	if repaired != 0 {
		t.Errorf("got %d repairs, want none", repaired)
	}
}

// TestPublish_restoresLinksDuringRetry: while a comparison is pending, a publish does
// not rely on the links of the current generation.
func TestPublish_restoresLinksDuringRetry(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	must(os.Remove(filepath.Join(dir, "db", "user")))
	w.retryLater("test", ".", errInjected)
	next := incomplete(mixed)
	next.Secrets = maps.Clone(mixed.Secrets)
	next.Secrets["tls"] = files("9", "tls.crt", "new")
	publish(t, w, next)
	equal(t, "visible", visible(t, dir), shown(generation.Nested, next))
}

// TestUnsynced_syncedAgain: after a failed sync of a directory, the retry syncs it, although its
// entries are already correct.
func TestUnsynced_syncedAgain(t *testing.T) {
	opts, seam := withSeam(testOptions(t, testsupport.MemoryDir(t)))
	w := opened(t, opts)
	publish(t, w, mixed)
	must(os.Remove(filepath.Join(opts.Dir, "db", "user")))
	failures, synced := 1, 0
	seam.reset(func(_ int, call call, do func() error) error {
		if call.op == "SyncDir" && call.name == "db" {
			if failures--; failures >= 0 {
				return syscall.EIO
			}
			synced++
		}
		return do()
	})
	if _, err := w.reconcile(context.Background()); err == nil {
		t.Error("got no error of a repair whose sync failed")
	}
	reconcileAll(w)
	reconcileAll(w)
	if synced != 1 || len(w.uncertain.unsynced) > 0 {
		t.Errorf("got %d syncs after the failure, and %v unsynced; want 1 and none", synced, w.uncertain.unsynced)
	}
}

// unreadable is a volume with a single unreadable file.
type unreadable struct {
	volume.Calls
	name  string
	errno syscall.Errno
}

func (u *unreadable) ReadFile(name string) ([]byte, error) {
	if name == u.name {
		return nil, u.errno
	}
	return u.Calls.ReadFile(name)
}

// TestNumbers_forged: a forged number in a record never makes the next generation
// unreadable, and no notification is lost.
func TestNumbers_forged(t *testing.T) {
	highest, found := strconv.Itoa(generation.MaxGeneration), strconv.Itoa(generation.MaxFound)
	for name, forge := range map[string]func(dir, record string){
		"notified": func(dir, _ string) {
			put(dir, generation.NotifiedFile, `{"format":1,"volume":"x",`+
				`"targets":{"webhook":{"notified":`+highest+`}}}`)
		},
		"notified of the highest number to continue with": func(dir, _ string) {
			put(dir, generation.NotifiedFile, `{"format":1,"volume":"x","targets":{"webhook":{"notified":`+found+`}}}`)
		},
		"the record": func(_, record string) {
			data, err := os.ReadFile(record)
			must(err)
			must(os.WriteFile(record, []byte(strings.Replace(string(data), `"generation":2`, `"generation":`+highest,
				1)),
				0o644))
		},
	} {
		dir := testsupport.MemoryDir(t)
		w := opened(t, testOptions(t, dir))
		publish(t, w, fewer)
		publish(t, w, mixed)
		must(w.SetTargetRecord("webhook", notifiedRecord(2)))
		shut(t, w)
		forge(dir, current(dir)+".json")
		w = opened(t, testOptions(t, dir))
		for _, content := range []Content{changes, mixed, changes} {
			n := publish(t, w, content)
			if err := Ready(dir); err != nil {
				t.Errorf("%s: generation %d: %v", name, n, err)
			}
			if notified, known := lastNotified(w, "webhook"); !known || notified == n {
				t.Errorf("%s: notified of %d of %d, known %v", name, notified, n, known)
			}
			if got := w.ChangesSince(0); len(got.Added)+len(got.Changed) == 0 {
				t.Errorf("%s: generation %d changes nothing", name, n)
			}
		}
		last, _ := w.Current()
		must(w.SetTargetRecord("webhook", notifiedRecord(last)))
		for range 2 {
			shut(t, w)
			w = opened(t, testOptions(t, dir))
			n := publish(t, w, changes)
			if notified, _ := lastNotified(w, "webhook"); n != last || notified != last {
				t.Errorf("%s: after a restart: generation %d, notified of %d, want %d", name, n, notified, last)
			}
		}
	}
}

// TestVolumeID_isStable: the first publish writes the base record with the ID of the volume,
// and a restart keeps it. Without the record, all targets are pending.
func TestVolumeID_isStable(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	if _, err := os.Lstat(filepath.Join(dir, generation.NotifiedFile)); err == nil {
		t.Error("an empty volume has a base record")
	}
	publish(t, w, mixed)
	id := w.State().Notified.Volume
	if state, err := ReadState(dir); err != nil || id == "" || state.Notified.Volume != id {
		t.Errorf("got the ID %q, %v, want %q", state.Notified.Volume, err, id)
	}
	if _, known := lastNotified(w, "new"); known {
		t.Error("a target without a record is pending in a volume that lost none")
	}
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if got := w.State().Notified.Volume; got != id {
		t.Errorf("after a restart: got %q, want %q", got, id)
	}
	must(w.SetTargetRecord("webhook", notifiedRecord(1)))
	shut(t, w)
	must(os.Remove(filepath.Join(dir, generation.NotifiedFile)))
	w = opened(t, testOptions(t, dir))
	if got := w.State().Notified.Volume; got == id || got == "" {
		t.Errorf("without the record: got the ID %q, want a new one", got)
	}
	for _, target := range []string{"webhook", "new"} {
		if n, known := lastNotified(w, target); n != 0 || !known {
			t.Errorf("without the record: %s is notified of %d, known %v, want pending", target, n, known)
		}
	}
	other := opened(t, testOptions(t, testsupport.MemoryDir(t)))
	if other.State().Notified.Volume == w.State().Notified.Volume {
		t.Error("two volumes have the same ID")
	}
}
