package writer

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// withMode gives a file of Files a mode of its own.
func withMode(f Files, path string, mode fs.FileMode) Files {
	f.Modes = map[string]fs.FileMode{path: mode}
	return f
}

func modeOf(t *testing.T, dir, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, path))
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// TestModes_perFile: a file is created with its own mode, a change of only this mode
// makes a new generation, and a repair restores it.
func TestModes_perFile(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	key := func(mode fs.FileMode) Content {
		return one("ssh", withMode(files("1", "id", "private", "id.pub", "public"), "id", mode))
	}
	want := func(id fs.FileMode) {
		t.Helper()
		if got := modeOf(t, dir, "ssh/id"); got != id {
			t.Errorf("id: got mode %o, want %o", got, id)
		}
		if got := modeOf(t, dir, "ssh/id.pub"); got != 0o644 {
			t.Errorf("id.pub: got mode %o, want 644", got)
		}
	}
	publish(t, w, key(0o600))
	want(0o600)
	if n := publish(t, w, key(0o600)); n != 1 {
		t.Errorf("the same again: got generation %d, want 1", n)
	}
	if n := publish(t, w, key(0o400)); n != 2 {
		t.Errorf("another mode: got generation %d, want 2", n)
	}
	want(0o400)
	if got, want := w.ChangesSince(1).Changed, []string{"ssh/id"}; !slices.Equal(got, want) {
		t.Errorf("changed: got %q, want %q", got, want)
	}
	state := w.State()
	if got := state.Secrets["ssh"].Generation; got != 2 {
		t.Errorf("the Secret is as it is since generation %d, want 2", got)
	}

	must(os.Chmod(filepath.Join(dir, "ssh/id"), 0o644))
	if _, err := w.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(0o400)
	for _, version := range []string{"1", "2"} { // with 2, only labels changed during the restart
		shut(t, w)
		w = opened(t, testOptions(t, dir)) // the record contains the mode
		same := one("ssh", withMode(files(version, "id", "private", "id.pub", "public"), "id", 0o400))
		if n := publish(t, w, same); n != 2 {
			t.Errorf("after a restart with version %s: got generation %d, want 2", version, n)
		}
	}
	want(0o400)
	if n := publish(t, w, one("ssh", files("1", "id", "private", "id.pub", "public"))); n != 3 {
		t.Errorf("without a mode of its own: got generation %d, want 3", n)
	}
	want(0o644)
}

// TestModes_changedByARestart: the version is the same, the mode is not.
func TestModes_changedByARestart(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, one("ssh", withMode(files("1", "id", "private"), "id", 0o600)))
	shut(t, w)
	opts := testOptions(t, dir)
	opts.FileMode = 0o600 // for all, so the file is as before
	w = opened(t, opts)
	publish(t, w, one("ssh", files("1", "id", "private")))
	if got := modeOf(t, dir, "ssh/id"); got != 0o600 {
		t.Errorf("got mode %o, want 600", got)
	}
	if got, want := w.ChangesSince(1).Changed, []string{}; !slices.Equal(got, want) {
		t.Errorf("changed: got %q, want %q", got, want)
	}
}
