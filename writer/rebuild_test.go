package writer

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

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

// TestRebuild_modes: without its record, a private file stays private until the API server answers.
func TestRebuild_modes(t *testing.T) {
	for _, layout := range layouts {
		opts := testOptions(t, testsupport.MemoryDir(t))
		opts.Layout = layout
		w := opened(t, opts)
		set := one("tls", withMode(files("1", "key", "private", "crt", "public"), "key", 0o400))
		publish(t, w, set)
		shut(t, w)
		must(os.Remove(current(opts.Dir) + ".json"))
		w = opened(t, opts)
		before := must2(os.Readlink(filepath.Join(opts.Dir, "..data")))
		reconcileAll(w)
		if after := must2(os.Readlink(filepath.Join(opts.Dir, "..data"))); after != before {
			t.Errorf("%s: the rebuilt generation was published again", layout)
		}
		for file, want := range map[string]fs.FileMode{"key": 0o400, "crt": 0o644} {
			if got := modeOf(t, opts.Dir, layout.Path("tls", file)); got != want {
				t.Errorf("%s: %s has mode %o, want %o", layout, file, got, want)
			}
		}
	}
}
