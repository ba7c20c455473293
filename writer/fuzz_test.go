package writer

import (
	"context"
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// plant makes an arbitrary tree: the bytes choose from the reserved names, and from
// all kinds of entries.
func plant(dir, canary string, script []byte) {
	names := []string{
		"db", "db/password", "db/..data", "db/..data_tmp", "db/x", "..data", "..data_tmp", "..data_tmp/x",
		"..notified.json", "password", "foreign", "foreign/x", "tls", "tls/..data",
		"..2026_11_22_10_44_52.1", "..2026_11_22_10_44_52.1/db", "..2026_11_22_10_44_52.1/db/password",
		"..2026_11_22_10_44_52.1/password", "..2026_11_22_10_44_52.1.json",
		"..2027_11_22_10_44_52.2", "..2027_11_22_10_44_52.2/db", "..2027_11_22_10_44_52.2.json",
	}
	contents := []string{
		"", "x", "{", "old", `{"format":1,"generation":3,"complete":true,"layout":"nested","fileMode":420,` +
			`"secrets":{"db":{"files":{"password":{"added":1,"changed":2}}}},"since":0}`,
		`{"format":1,"generation":4,"layout":"flat","fileMode":256,"secrets":{"db":{"files":{"password":{"added":1,` +
			`"changed":2}}},"tls":{"files":{"x/y":{}}}},"since":9}`,
		`{"format":1,"generation":9007199254740992,"fileMode":420,` +
			`"secrets":{".":{"files":{"..data":{}}}}}`, `{"format":1,"targets":{"webhook":{"notified":3},` +
			`"x":{"notified":9007199254740993}}}`,
	}
	targets := []string{
		canary, canary + "/file", "..2026_11_22_10_44_52.1", "..2027_11_22_10_44_52.2", "..data/password",
		"../..data/db", "..data/db", ".", "..", "../" + filepath.Base(canary), "db", "nowhere", "/",
	}
	for i := 0; i+2 < len(script); i += 3 {
		p, arg := filepath.Join(dir, names[int(script[i])%len(names)]), int(script[i+2])
		if !inside(dir, p) {
			continue // through a link planted before
		}
		switch script[i+1] % 8 {
		case 0, 1:
			_ = os.MkdirAll(p, 0o755)
		case 2, 3:
			_ = os.WriteFile(p, []byte(contents[arg%len(contents)]), fs.FileMode(arg)&0o777)
		case 4, 5:
			_ = os.Symlink(targets[arg%len(targets)], p)
		case 6:
			_ = syscall.Mkfifo(p, 0o600)
		case 7:
			if info, err := os.Lstat(p); err == nil && info.IsDir() {
				_ = os.Chmod(p, fs.FileMode(arg)&0o777)
			}
		}
	}
}

// inside reports whether the test itself may write at p: it must not touch the
// canary through a planted link.
func inside(dir, p string) bool {
	for d := filepath.Dir(p); d != dir; d = filepath.Dir(d) {
		if info, err := os.Lstat(d); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return false
		}
	}
	info, err := os.Lstat(p)
	return err != nil || info.Mode().IsRegular() || info.IsDir()
}

// FuzzRecovery starts on an arbitrary tree. There is never a panic or a change
// outside the volume. At the end the files are right, or a name is taken.
func FuzzRecovery(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		script := make([]byte, 3*(1+random.IntN(20)))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 150 {
			return
		}
		top := testsupport.MemoryDir(t)
		dir, canary := filepath.Join(top, "volume"), filepath.Join(top, "canary")
		put(canary, "file", "untouched")
		put(canary, "sub/..data", "untouched")
		must(os.Mkdir(dir, 0o755))
		plant(dir, canary, script)
		before := identity(t, canary)
		for _, layout := range layouts {
			c := newClock()
			opts := quiet(testOptions(t, dir))
			opts.now, opts.Layout = c.Now, layout
			w, err := start(opts)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Publish(context.Background(), mixed)
			if err != nil && strings.Contains(err.Error(), ErrUnusable.Error()) {
				shut(t, w)
				must(os.RemoveAll(dir)) // a name was taken: then from an empty volume
				must(os.Mkdir(dir, 0o755))
				if w, err = start(opts); err == nil {
					_, err = w.Publish(context.Background(), mixed)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			endGracePeriods(w, c)
			check(t, dir, layout, mixed)
			if n, err := w.Publish(context.Background(),
				changes); err != nil || n == 0 || n > generation.MaxGeneration {
				t.Fatalf("generation %d, %v", n, err)
			}
			endGracePeriods(w, c)
			check(t, dir, layout, changes)
			if err := Ready(dir); err != nil {
				t.Error(err)
			}
			shut(t, w)
		}
		equal(t, "outside", identity(t, canary), before)
	})
}

// check finds the files of set; foreign entries may be beside them.
func check(t *testing.T, dir string, layout Layout, set Content) {
	t.Helper()
	for p, want := range shown(layout, set) { // not visible: planted links may point anywhere
		if got, err := os.ReadFile(filepath.Join(dir, p)); err != nil || string(got) != want {
			t.Errorf("%s: got %q %v, want %q", p, got, err, want)
		}
	}
	generations := 0
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if generation.GenerationName.MatchString(e.Name()) {
			generations++
		}
		if strings.HasSuffix(e.Name(), "_tmp") {
			t.Errorf("%s is left", e.Name())
		}
	}
	if generations != 1 {
		t.Errorf("got %d generations, want 1", generations)
	}
}

// FuzzParseRecord: a valid record points nowhere but below a generation, and its
// encoding can be parsed again.
func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"format":1,"generation":1,"fileMode":420}`, `{"format":1,"generation":1,` +
			`"fileMode":2541}`,
		`{"format":1,"generation":1,"fileMode":420,"secrets":{"../x":{"files":{"y":{}}}}}`,
		`{"format":1,"generation":1,"fileMode":420,"secrets":{"x":{"files":{"..data/y":{}}}}}`,
		`{"format":1,"generation":1,"fileMode":420,"secrets":{".":{"files":{"y":{}}}}}`,
		`{"format":1,"generation":-1,"fileMode":420}`, `{"format":1,"generation":1e300,"fileMode":420}`,
		`{"format":1,"generation":1,"fileMode":420,"secrets":{"a":{"files":{"k":{},"k/x":{}}}}}`,
		`{"format":1,"generation":2,"fileMode":420,"secrets":{"a":{"files":{"k":{"added":1,"changed":2}}}},` +
			`"removed":{"a/x":[{"added":1,"changed":2}]},"since":0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := generation.ParseRecord(data)
		if err != nil {
			return
		}
		_ = r.ChangesSince(0)
		_ = r.ChangesSince(r.Generation)
		for _, e := range generation.New("dir", r, Content{}).Outside {
			name := e.Path
			if !fs.ValidPath(name) || name == "." || strings.HasPrefix(generation.Top(name), "..") {
				t.Errorf("a link at %q", name)
			}
		}
		again, err := json.Marshal(r)
		must(err)
		if _, err := generation.ParseRecord(again); err != nil {
			t.Errorf("not read again: %v", err)
		}
	})
}
