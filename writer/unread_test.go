package writer

import (
	"context"
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestStart_unreadFile: a file that the disk fails to read at the start stays in the
// volume while the API is unavailable or its Secret is deleted. A publish and a repair
// fail with EIO rather than drop the file. The API's value replaces it in the same
// generation.
func TestStart_unreadFile(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	broken := func(call, name string) bool { return call == "read" && path.Base(name) == "password" }
	for _, know := range []bool{true, false} { // whether the API has the Secret
		opts, m := withMisreads(testOptions(t, dir))
		m.fails = broken
		w = opened(t, opts)
		_, found := w.Current()
		if got := len(found.Secrets["db"].Values); got != 2 {
			t.Errorf("got %d values, want the two readable ones", got)
		}
		changed := incomplete(found)
		changed.Secrets = maps.Clone(found.Secrets)
		changed.Secrets["tls"] = files("9", "tls.crt", "new")
		if _, err := w.Publish(context.Background(), changed); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v, want EIO", err)
		}
		reconcileAll(w)
		equal(t, "visible", visible(t, dir), shown(generation.Nested, mixed))
		if know {
			if n := publish(t, w, mixed); n != 1 {
				t.Errorf("got generation %d, want 1", n)
			}
			equal(t, "confirmed", visible(t, dir), shown(generation.Nested, mixed))
		} else {
			m.fails = nil
			publish(t, w, changed)
			want := shown(generation.Nested, mixed)
			want["tls/tls.crt"] = "new"
			equal(t, "after the disk's recovery", visible(t, dir), want)
			changed.Secrets = maps.Clone(changed.Secrets)
			changed.Secrets["db"] = files("10", "username", "other")
			publish(t, w, changed)
			if w.current.Load().Partial {
				t.Error("after another version of the Secret, a file of the old version is missing")
			}
		}
		shut(t, w)
	}
}

// openedWithUnread returns the Writer of a volume with mixed. It could not read a file at its start, and can now.
func openedWithUnread(t *testing.T) (dir string, w *Writer) {
	t.Helper()
	dir = testsupport.MemoryDir(t)
	w = opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	opts, m := withMisreads(testOptions(t, dir))
	m.fails = func(call, name string) bool { return call == "read" && path.Base(name) == "password" }
	w = opened(t, opts)
	m.fails = nil
	return dir, w
}

// TestAddUnread_afterRepair: a repair restores an unread file. A later publish of the content that
// was read at the start keeps it.
func TestAddUnread_afterRepair(t *testing.T) {
	dir, w := openedWithUnread(t)
	_, found := w.Current()
	must(os.Remove(filepath.Join(dir, w.current.Load().Dir, "tls", "tls.crt")))
	if _, err := w.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, w, incomplete(found))
	equal(t, "visible", visible(t, dir), shown(generation.Nested, mixed))
}

// TestAddUnread_unowned: a repair also restores an unread file of an unknown Secret.
func TestAddUnread_unowned(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	base := testOptions(t, dir)
	base.Layout = generation.Flat
	w := opened(t, base)
	publish(t, w, mixed)
	shut(t, w)
	must(os.Remove(current(dir) + ".json"))
	opts, m := withMisreads(base)
	m.fails = func(call, name string) bool { return call == "read" && path.Base(name) == "password" }
	w = opened(t, opts)
	m.fails = nil
	must(os.Remove(filepath.Join(dir, w.current.Load().Dir, "tls.crt")))
	if _, err := w.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "visible", visible(t, dir), shown(generation.Flat, mixed))
}

// TestAddUnread_readsOnce: after a publish read an unread file, no later publish reads it again. Another process may
// have changed it since.
func TestAddUnread_readsOnce(t *testing.T) {
	dir, w := openedWithUnread(t)
	_, found := w.Current()
	publish(t, w, two("db", found.Secrets["db"], "tls", files("9", "tls.crt", "new")))
	must(os.WriteFile(filepath.Join(dir, w.current.Load().Dir, "db", "password"), []byte("forged"), 0o644))
	_, found = w.Current()
	publish(t, w, two("db", found.Secrets["db"], "tls", files("10", "tls.crt", "newer")))
	want := shown(generation.Nested, mixed)
	want["tls/tls.crt"] = "newer"
	equal(t, "visible", visible(t, dir), want)
}

// TestAddUnread_onlyUnreadFiles: while a file of a Secret is unread, another file of the
// same version that is no longer wanted is removed.
func TestAddUnread_onlyUnreadFiles(t *testing.T) {
	dir, w := openedWithUnread(t)
	_, found := w.Current()
	db := found.Secrets["db"]
	db.Values = maps.Clone(db.Values)
	delete(db.Values, "user")
	publish(t, w, two("db", db, "tls", found.Secrets["tls"]))
	want := shown(generation.Nested, mixed)
	delete(want, "db/user")
	equal(t, "visible", visible(t, dir), want)
}

// TestAddUnread_sharedMaps: AddUnread changes no map of its argument. The readers of the current generation share them.
func TestAddUnread_sharedMaps(t *testing.T) {
	_, w := openedWithUnread(t)
	_, found := w.Current()
	added, err := w.vol.AddUnread(w.current.Load(), found)
	if _, read := added.Secrets["db"].Values["password"]; err != nil || !read {
		t.Errorf("the file was not read: %v", err)
	}
	if _, shared := found.Secrets["db"].Values["password"]; shared {
		t.Error("the argument contains the file")
	}
}

// TestReconcile_linksBesideAnUnreadFile: while an unread file prevents the repair of damaged files, links are restored.
func TestReconcile_linksBesideAnUnreadFile(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	opts, m := withMisreads(testOptions(t, dir))
	m.fails = func(call, name string) bool { return call == "read" && path.Base(name) == "password" }
	w = opened(t, opts)
	must(os.Remove(filepath.Join(dir, w.current.Load().Dir, "tls", "tls.crt")))
	must(os.Remove(filepath.Join(dir, "..data")))
	reconcileAll(w)
	if _, err := os.Stat(filepath.Join(dir, "db/user")); err != nil {
		t.Error(err)
	}
}
