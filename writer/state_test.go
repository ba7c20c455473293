package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// TestReady_namesTheFirstMissingFile: with several missing files, the error always
// names the same file and counts the others.
func TestReady_namesTheFirstMissingFile(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	publish(t, opened(t, testOptions(t, dir)), mixed)
	if err := Ready(dir); err != nil {
		t.Fatal(err)
	}
	gen := current(dir)
	for _, tt := range []struct{ remove, want string }{
		{"tls/tls.crt", fmt.Sprintf("read %q: generation 1 lacks %q (1 missing)", dir,
			filepath.Base(gen)+"/tls/tls.crt")},
		{"db/user", fmt.Sprintf("read %q: generation 1 lacks %q (2 missing)", dir, filepath.Base(gen)+"/db/user")},
		{"db/password", fmt.Sprintf("read %q: generation 1 lacks %q (3 missing)", dir,
			filepath.Base(gen)+"/db/password")},
	} {
		must(os.Remove(filepath.Join(gen, tt.remove)))
		for range 10 {
			if err := Ready(dir); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		}
	}
}

// TestReady_nothingThere: each state of an unready volume has its own error.
func TestReady_nothingThere(t *testing.T) {
	for name, tt := range map[string]struct {
		plant func(dir string)
		want  string
	}{
		"no directory": {func(dir string) { must(os.Remove(dir)) }, "open the volume"},
		"empty":        {func(string) {}, "no generation in"},
		"a file":       {func(dir string) { put(dir, "..data", "x") }, "no generation in"},
		"elsewhere":    {func(dir string) { must(os.Symlink("/etc", dir+"/..data")) }, "points to \"/etc\""},
		"no record": {func(dir string) { must(os.Symlink("..2026_11_22_10_44_52.1", dir+"/..data")) },
			"read the record of"},
		"forged record": {func(dir string) {
			must(os.Symlink("..2026_11_22_10_44_52.1", dir+"/..data"))
			put(dir, "..2026_11_22_10_44_52.1.json", "{}")
		}, "unsupported format"},
	} {
		dir := filepath.Join(testsupport.MemoryDir(t), "volume")
		must(os.Mkdir(dir, 0o755))
		tt.plant(dir)
		if err := Ready(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if _, err := ReadState(dir); err == nil {
			t.Errorf("%s: the state can be read", name)
		}
	}
}

// TestReady_reportsTheReadError: a directory without search permission is not a
// missing file. The child is not root.
func TestReady_reportsTheReadError(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	publish(t, opened(t, testOptions(t, dir)), mixed)
	must(os.Chmod(filepath.Join(current(dir), "db"), 0o600))
	asUser(t, "ready", dir)
}

func readyChild(args []string) error {
	err := Ready(args[0])
	if os.Getuid() != 0 && (!errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "lacks")) {
		return fmt.Errorf("got %v, want the read error", err)
	}
	return nil
}

// TestCheckCurrent_unknown: a file is not missing if it could not be examined.
func TestCheckCurrent_unknown(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	publish(t, opened(t, testOptions(t, dir)), mixed)
	err := volume.Read(dir, func(vol volume.Volume) error {
		vol.Calls = &misreads{Calls: vol.Calls,
			fails: func(call, name string) bool { return call == "lstat" && strings.HasSuffix(name, "user") }}
		return vol.CheckCurrent()
	})
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
}

// TestReadState_besideTheWriter: the state is readable while a Writer owns the
// volume, and equals the Writer's state.
func TestReadState_besideTheWriter(t *testing.T) {
	for _, layout := range layouts {
		dir := testsupport.MemoryDir(t)
		opts := testOptions(t, dir)
		opts.Layout = layout
		w := opened(t, opts)
		publish(t, w, fewer)
		publish(t, w, mixed)
		must(w.SetTargetRecord("webhook", notifiedRecord(1)))
		got, err := ReadState(dir)
		if err != nil {
			t.Fatal(err)
		}
		own := w.State()
		recorded := got.Notified.Targets["webhook"].Notified == 1 && own.Notified.Targets["webhook"].Notified == 1
		if got.Generation != 2 || own.Generation != 2 || !recorded ||
			got.Layout != layout {
			t.Errorf("%v: read %+v, own state %+v", layout, got, own)
		}
		paths, ownPaths := got.Paths(), own.Paths()
		if len(paths) != len(ownPaths) || !slices.Equal(got.ChangesSince(1).Added, own.ChangesSince(1).Added) {
			t.Errorf("%v: read %v, own state %v", layout, paths, ownPaths)
		}
		put(dir, generation.NotifiedFile, "garbage")
		if got, err := ReadState(dir); err != nil || got.Notified.Targets != nil {
			t.Errorf("%v: with a damaged record of notifications: %v, %v", layout, got.Notified.Targets, err)
		}
	}
}

// TestPublish_newUID: if a Secret was created again with the same data, its UID is in the record, also after a restart.
// A new version alone writes nothing.
func TestPublish_newUID(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	opts, seam := withSeam(testOptions(t, dir))
	w := opened(t, opts)
	f := files("1", "a", "1")
	n := publish(t, w, one("db", f))
	f.ResourceVersion = "2"
	seam.reset(nil)
	publish(t, w, one("db", f))
	if calls := seam.recorded(); len(calls) > 0 {
		t.Errorf("a new version: got %v", calls)
	}
	f.UID, f.ResourceVersion = "new", "3"
	if got := publish(t, w, one("db", f)); got != n {
		t.Errorf("got generation %d, want %d", got, n)
	}
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	for name, got := range map[string]State{"volume": must2(ReadState(dir)), "restart": w.State()} {
		if s := got.Secrets["db"]; s.UID != "new" || s.ResourceVersion != "3" || s.Generation != n {
			t.Errorf("%s: got %+v", name, s)
		}
	}
}
