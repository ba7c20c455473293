package writer

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

func itoa(n int) string { return strconv.Itoa(n) }

// identity returns attributes that change when an entry is recreated or touched.
func identity(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if p != dir && err == nil && d.Name() != generation.LockFile {
			info, _ := os.Lstat(p)
			st := info.Sys().(*syscall.Stat_t)
			out[p] = strconv.FormatUint(st.Ino, 10) + " " + strconv.FormatInt(st.Ctim.Nano(), 10)
		}
		return err
	}))
	return out
}

func TestStart_unchanged(t *testing.T) {
	for _, layout := range layouts {
		dir := testsupport.MemoryDir(t)
		opts := testOptions(t, dir)
		opts.Layout = layout
		w := opened(t, opts)
		publish(t, w, mixed)
		must(w.SetTargetRecord("webhook", notifiedRecord(1)))
		shut(t, w)
		before := identity(t, dir)
		opts, seam := withSeam(opts)
		w = opened(t, opts)
		again := mixed
		again.Secrets = maps.Clone(mixed.Secrets)
		f := again.Secrets["db"]
		f.ResourceVersion = "77" // a label was changed meanwhile
		again.Secrets["db"] = f
		if n := publish(t, w, again); n != 1 {
			t.Errorf("got generation %d, want 1", n)
		}
		equal(t, "inode and ctime", identity(t, dir), before)
		if calls := seam.recorded(); len(calls) > 0 {
			t.Errorf("changed something: %v", calls)
		}
		if got, known := lastNotified(w, "webhook"); got != 1 || !known {
			t.Errorf("notified: got %d %v, want 1 true", got, known)
		}
	}
}

// TestPublish_noChange: a publish without a change makes no call at all, of any kind.
func TestPublish_noChange(t *testing.T) {
	opts, seam := withSeam(testOptions(t, testsupport.MemoryDir(t)))
	w := opened(t, opts)
	publish(t, w, mixed)
	seam.reset(nil)
	for range 10 {
		publish(t, w, mixed)
	}
	if n := len(seam.recorded()) + seam.reads; n != 0 {
		t.Errorf("got %d calls, want 0", n)
	}
}

// TestStart_recovery: each row leaves a possible state of an earlier process. The volume contains generations 1 (fewer)
// and 2 (mixed), and the target was notified of 2.
func TestStart_recovery(t *testing.T) {
	rows := map[string]struct {
		do      func(dir, gen string)
		number  uint64 // after publishing mixed again
		pending bool   // the target is to be notified of it
		removes string // a path absent at the end
	}{
		"nothing":           {func(string, string) {}, 2, false, ""},
		"stale temporaries": {func(dir, _ string) { leaveEntries(dir) }, 2, false, "..data_tmp"},
		"orphan of a higher number": {func(dir, gen string) { orphan(dir, gen, "..2031_01_01_00_00_00.1", 9) }, 2,
			false,
			"..2031_01_01_00_00_00.1"},
		"record without a directory": {func(dir, _ string) { put(dir, "..2031_01_01_00_00_00.1.json", "{}") }, 2, false,
			"..2031_01_01_00_00_00.1.json"},
		"..data missing": {func(dir, _ string) { must(os.Remove(filepath.Join(dir, generation.DataLink))) }, 2,
			false, ""},
		"..data dangling":       {func(dir, _ string) { relink(dir, "..2001_01_01_00_00_00.1") }, 2, false, ""},
		"..data points outside": {func(dir, _ string) { relink(dir, "/etc") }, 2, false, ""},
		"..data is a directory": {func(dir, _ string) { relink(dir, ""); put(dir, "..data/db/password", "evil") }, 2,
			false, ""},
		"..data is a file": {func(dir, _ string) { relink(dir, ""); put(dir, "..data", "evil") }, 2, false, ""},
		"..data is a FIFO": {func(dir, _ string) {
			relink(dir, "")
			must(syscall.Mkfifo(filepath.Join(dir, generation.DataLink), 0o600))
		}, 2, false, ""},
		"links missing": {func(dir, _ string) { must(os.RemoveAll(filepath.Join(dir, "db"))) }, 2, false, ""},
		"links foreign": {func(dir, _ string) {
			must(os.RemoveAll(filepath.Join(dir, "db")))
			must(os.Symlink("/etc", filepath.Join(dir, "db")))
		}, 2, false, ""},
		"a Secret's place is a file": {func(dir,
			_ string) {
			must(os.RemoveAll(filepath.Join(dir, "db")))
			put(dir, "db", "x")
		}, 2, false, ""},
		"a link's place is a FIFO": {func(dir, _ string) {
			must(os.Remove(filepath.Join(dir, "db/user")))
			must(syscall.Mkfifo(filepath.Join(dir, "db/user"), 0o600))
		}, 2, false, ""},
		"a file truncated":       {func(_, gen string) { must(os.Truncate(gen+"/db/password", 1)) }, 2, false, ""},
		"a file empty":           {func(_, gen string) { must(os.Truncate(gen+"/db/password", 0)) }, 2, false, ""},
		"a file missing":         {func(_, gen string) { must(os.Remove(gen + "/db/password")) }, 2, false, ""},
		"a file of another mode": {func(_, gen string) { must(os.Chmod(gen+"/db/password", 0o600)) }, 2, false, ""},
		"a file too many":        {func(_, gen string) { put(gen, "db/more", "x") }, 2, false, ""},
		"a file is a FIFO": {func(_, gen string) {
			must(os.Remove(gen + "/db/password"))
			must(syscall.Mkfifo(gen+"/db/password", 0o644))
		}, 2, false, ""},
		"a file is a link": {func(_, gen string) {
			must(os.Remove(gen + "/db/password"))
			must(os.Symlink("/etc/passwd", gen+"/db/password"))
		}, 2, false, ""},
		"a file is a hard link": {func(dir,
			gen string) {
			must(os.Link(gen+"/db/password", dir+"/foreign"))
			put(dir, "foreign", "evil")
		}, 2, false, ""},
		"all files missing": {func(_, gen string) { must(os.RemoveAll(gen)); must(os.Mkdir(gen, 0o755)) }, 2,
			false, ""},
		"the generation missing": {func(_, gen string) { must(os.RemoveAll(gen)) }, 3, true, ""}, // back to 1, then 3
		"..data and a file missing": {func(dir, gen string) {
			must(os.Remove(gen + "/db/password"))
			must(os.Remove(filepath.Join(dir, generation.DataLink)))
		}, 3, true, ""}, // back to 1, which is whole
		"record missing": {func(_, gen string) { must(os.Remove(gen + ".json")) }, 3, true, ""},
		"record lost, notified of 1": {func(dir, gen string) {
			put(dir, generation.NotifiedFile, `{"format":1,"targets":{"webhook":{"notified":1}}}`)
			entries, err := os.ReadDir(dir)
			must(err)
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), "..2") && !strings.HasPrefix(e.Name(), filepath.Base(gen)) {
					must(os.RemoveAll(filepath.Join(dir, e.Name())))
				}
			}
			must(os.Truncate(gen+".json", 20))
		}, 2, true, ""},
		"record truncated": {func(_, gen string) { must(os.Truncate(gen+".json", 20)) }, 3, true, ""},
		"record of another format": {func(_,
			gen string) {
			must(os.WriteFile(gen+".json", []byte(`{"format":2,"generation":2}`), 0o644))
		}, 3, true, ""},
		"record of a forged number": {func(_, gen string) {
			must(os.WriteFile(gen+".json", []byte(`{"format":1,"generation":18446744073709551615,"fileMode":420}`),
				0o644))
		}, 3, true, ""},
		"record is a directory": {func(_,
			gen string) {
			must(os.Remove(gen + ".json"))
			must(os.MkdirAll(gen+".json/x", 0o755))
		}, 3, true, ""},
		"notified unreadable": {func(dir, _ string) { put(dir, generation.NotifiedFile, "{") }, 2, true, ""},
		"notified of another format": {func(dir,
			_ string) {
			put(dir, generation.NotifiedFile, `{"format":7,"targets":{"webhook":{"notified":2}}}`)
		}, 2, true, ""},
		"notified of a forged number": {func(dir, _ string) {
			put(dir, generation.NotifiedFile, `{"format":1,"targets":{"webhook":{"notified":18446744073709551615}}}`)
		}, 2, true, ""},
		"notified is a directory": {func(dir, _ string) {
			must(os.Remove(filepath.Join(dir, generation.NotifiedFile)))
			put(dir, generation.NotifiedFile+"/x", "")
		}, 2, true, ""},
		"notified of more than is there": {func(dir,
			_ string) {
			put(dir, generation.NotifiedFile, `{"format":1,"targets":{"webhook":{"notified":40}}}`)
		}, 2, false, ""},
		"Secret of before left": {func(dir, _ string) {
			must(os.Mkdir(dir+"/was", 0o755))
			must(os.Symlink("../..data/was", dir+"/was/..data"))
		}, 2, false, "was"},
		"half a Secret's directory": {func(dir, _ string) { must(os.MkdirAll(dir+"/..data_tmp", 0o755)) }, 2, false,
			"..data_tmp"},
		"modes of directories closed": {func(dir,
			gen string) {
			must(os.Chmod(gen, 0o700))
			must(os.Chmod(dir+"/db", 0o700))
		}, 2, false, ""},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, c := testsupport.MemoryDir(t), newClock()
			opts := testOptions(t, dir)
			opts.now = c.Now
			w := opened(t, opts)
			publish(t, w, fewer)
			publish(t, w, mixed)
			want := tree(t, dir)
			must(w.SetTargetRecord("webhook", notifiedRecord(2)))
			shut(t, w)
			foreign := filepath.Join(dir, "foreign")
			must(os.WriteFile(foreign, nil, 0o600))
			must(os.Remove(foreign))
			row.do(dir, current(dir))

			w = opened(t, opts)
			number := publish(t, w, mixed)
			if number != row.number {
				t.Errorf("generation: got %d, want %d", number, row.number)
			}
			notified, _ := lastNotified(w, "webhook")
			if pending := notified < number; pending != row.pending {
				t.Errorf("notified of %d of %d: pending is %v, want %v", notified, number, pending, row.pending)
			}
			equal(t, "visible", withoutForeign(visible(t, dir)), shown(generation.Nested, mixed))
			if _, err := os.Lstat(filepath.Join(dir, row.removes)); row.removes != "" && !errors.Is(err,
				fs.ErrNotExist) {
				t.Errorf("%s is there: %v", row.removes, err)
			}
			if err := Ready(dir); err != nil {
				t.Error(err)
			}
			endGracePeriods(w, c)
			got := tree(t, dir)
			for _, tr := range []map[string]string{got, want} {
				maps.DeleteFunc(tr, func(p, _ string) bool {
					return strings.HasSuffix(p, ".json") || p == "foreign" || strings.HasPrefix(p, "TIME")
				})
				delete(tr, generation.DataLink)
			}
			equal(t, "links in the end", got, want)
			if next := publish(t, w, changes); next <= number || name == "notified of more than is "+
				"there" && next != 41 {
				t.Errorf("the next generation: got %d after %d", next, number)
			}
		})
	}
}

func withoutForeign(seen map[string]string) map[string]string {
	delete(seen, "foreign")
	return seen
}

func put(dir, name, content string) {
	p := filepath.Join(dir, name)
	must(os.MkdirAll(filepath.Dir(p), 0o755))
	must(os.WriteFile(p, []byte(content), 0o644))
}

// relink makes ..data point to target, "" for not being there.
func relink(dir, target string) {
	must(os.Remove(filepath.Join(dir, generation.DataLink)))
	if target != "" {
		must(os.Symlink(target, filepath.Join(dir, generation.DataLink)))
	}
}

// orphan makes a whole generation to which ..data never pointed.
func orphan(dir, from, name string, number uint64) {
	must(os.CopyFS(filepath.Join(dir, name), os.DirFS(from)))
	data, err := os.ReadFile(from + ".json")
	must(err)
	var r generation.Record
	must(json.Unmarshal(data, &r))
	r.Generation = number
	data, err = json.Marshal(r)
	must(err)
	put(dir, name+".json", string(data))
}
