package writer

import (
	"context"
	"encoding/binary"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// The seven defects of the kubelet's AtomicWriter, one test each.

func TestDefect1_leftoverLink(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, fewer)
	for _, name := range []string{"..data_tmp", "db/..data_tmp"} {
		must(os.Symlink("x", filepath.Join(dir, name)))
	}
	publish(t, w, changes)
	if err := w.SetTargetRecord("x", notifiedRecord(2)); err != nil {
		t.Error(err)
	}
	equal(t, "visible", visible(t, dir), shown(generation.Nested, changes))
}

func TestDefect2_crashedWrites(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	before := tree(t, dir)
	shut(t, w)
	old := filepath.Join(dir, "..2020_01_01_00_00_00.123", "db")
	must(os.MkdirAll(old, 0o755))
	must(os.WriteFile(filepath.Join(old, "password"), []byte("old credentials"), 0o644))
	runDue(opened(t, testOptions(t, dir)))
	equal(t, "after the next start", tree(t, dir), before)
}

func TestDefect3_modeAlone(t *testing.T) {
	for _, layout := range layouts {
		dir := testsupport.MemoryDir(t)
		opts := testOptions(t, dir)
		opts.Layout = layout
		w := opened(t, opts)
		first := publish(t, w, mixed)
		shut(t, w)
		opts.FileMode = 0o440
		w = opened(t, opts)
		if second := publish(t, w, mixed); second != first+1 {
			t.Errorf("a change of a mode alone: got generation %d after %d", second, first)
		}
		for p := range shown(layout, mixed) {
			if info, err := os.Stat(filepath.Join(dir, p)); err != nil || info.Mode() != 0o440 {
				t.Errorf("%s: got %v %v, want 0440", p, info, err)
			}
		}
		if info, _ := os.Stat(filepath.Join(dir, "db")); layout == generation.Nested && info.Mode().Perm() != 0o750 {
			t.Errorf("db: got %v, want 0750", info.Mode())
		}
	}
}

func TestDefect4_danglingLinks(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, fewer)
	shut(t, w)
	for _, name := range []string{"gone", "db/gone"} { // a crash before step 11
		must(os.Symlink("..data/gone", filepath.Join(dir, name)))
	}
	runDue(opened(t, testOptions(t, dir)))
	for _, name := range []string{"gone", "db/gone"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestDefect5_reservedPaths(t *testing.T) {
	for _, p := range []string{
		"./..data/x", "..data/x", "../x", "x/../../y", "/etc/passwd", "", ".", "x/", "x//y", "..", "..x",
		"x/..y", "x/./y",
		strings.Repeat("n", 256), strings.Repeat("p/", 2000) + "p", "nul\x00", "\xff",
	} {
		for _, layout := range layouts {
			dir := testsupport.MemoryDir(t)
			opts := quiet(testOptions(t, dir))
			opts.Layout = layout
			w := opened(t, opts)
			publish(t, w, fewer)
			before := tree(t, dir)
			if _, err := w.Publish(context.Background(), one("db", files("2", p, "v", "password", "new"))); err == nil {
				t.Errorf("%.20q: published", p)
			}
			if _, err := w.Publish(context.Background(), one(p, files("2", "k", "v"))); err == nil && p != "p" {
				t.Errorf("%.20q as a Secret's name: published", p)
			}
			equal(t, "after a rejected path", tree(t, dir), before)
			publish(t, w, changes)
		}
	}
}

func TestDefect6_umask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	modesAreRight(t, func(string) {})
}

// TestPublish_defaultACL: the kernel takes a default ACL in the place of the umask.
func TestPublish_defaultACL(t *testing.T) {
	modesAreRight(t, func(dir string) {
		const version, user, group, other = 2, 0x01, 0x04, 0x20 // linux/posix_acl_xattr.h
		acl := binary.LittleEndian.AppendUint32(nil, version)
		for _, entry := range [][2]uint16{{user, 7}, {group, 0}, {other, 0}} {
			acl = binary.LittleEndian.AppendUint16(acl, entry[0])
			acl = binary.LittleEndian.AppendUint16(acl, entry[1])
			acl = binary.LittleEndian.AppendUint32(acl, ^uint32(0)) // of the owner
		}
		if err := unix.Setxattr(dir, "system.posix_acl_default", acl, 0); err != nil {
			t.Skipf("no default ACL on %s: %v", dir, err)
		}
	})
}

// modesAreRight publishes before and after a change of the directory.
func modesAreRight(t *testing.T, change func(dir string)) {
	t.Helper()
	for _, layout := range layouts {
		dir := testsupport.MemoryDir(t)
		opts := testOptions(t, dir)
		opts.Layout = layout
		w := opened(t, opts)
		publish(t, w, fewer)
		change(dir)
		publish(t, w, mixed)
		must(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			info, _ := d.Info()
			if p != dir && d.Name() != generation.LockFile &&
				(d.IsDir() && info.Mode().Perm() != 0o755 || d.Type().IsRegular() && info.Mode().Perm() != 0o644) {
				t.Errorf("%s: got %v", p, info.Mode())
			}
			return err
		}))
	}
}

func TestDefect7_syncedAndKept(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts, seam := withSeam(testOptions(t, dir))
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, mixed)
	held, err := os.Open(filepath.Join(dir, generation.DataLink))
	must(err)
	defer held.Close()
	seam.reset(nil)
	publish(t, w, changes)
	synced, made := map[string]bool{}, map[string]bool{}
	for _, call := range seam.recorded() {
		switch call.op {
		case "Create", "Mkdir":
			made[call.name] = true
		case "SyncDir", "file.Sync":
			synced[call.name] = true
		case "Rename":
			if call.to == generation.DataLink {
				for name := range made {
					if !synced[name] {
						t.Errorf("%s was not synced before the swap", name)
					}
				}
				if !synced["."] {
					t.Error("the volume was not synced before the swap")
				}
				synced = map[string]bool{}
			}
		}
	}
	if !synced["."] {
		t.Error("the volume was not synced after the swap")
	}
	old := filepath.Join("/proc/self/fd", itoa(int(held.Fd())), "db", "password")
	if data, err := os.ReadFile(old); err != nil || string(data) != "old" {
		t.Errorf("through a handle from before: got %q, %v", data, err)
	}
	c.Add(grace + time.Second)
	runDue(w)
	if _, err := os.ReadFile(old); err == nil {
		t.Error("the old generation is there after its grace")
	}
}

// TestPublish_payloads has the cases of AtomicWriter's own tests, as rows of this test: each payload is published into
// an empty volume, and each step of an update after the previous step.
func TestPublish_payloads(t *testing.T) {
	type payload = []string
	big := strings.Repeat("v", 900_000)
	for name, steps := range map[string][]payload{
		"one file":                     {{"foo", "foo"}},
		"two files":                    {{"foo", "foo", "bar", "bar"}},
		"binary and empty":             {{"b", "\x00\x01\xff", "empty", ""}},
		"dot files":                    {{".foo", "x", ".bar", "y", ".dir/.z", "z"}},
		"names that begin with dashes": {{"-", "x", "--help", "y"}},
		"one dot and more":             {{"a..b", "x", "a..", "y", ".a", "z"}},
		"directories":                  {{"foo/bar", "a", "foo/baz", "b", "foo/zib/zab", "c"}},
		"deep":                         {{"a/b/c/d/e/f/g/h", "x"}},
		"kitchen sink": {{"foo.txt", "f", "bar.txt", "b", ".foo", "x", "dir/a", "1", "dir/sub/b", "2",
			"other/c", "3"}},
		"long name":  {{strings.Repeat("n", 255), "x"}},
		"large":      {{"big", big}, {"big", big[:1]}},
		"update":     {{"foo", "1", "bar", "1"}, {"foo", "2", "bar", "2"}},
		"no update":  {{"foo", "1", "bar", "1"}, {"foo", "1", "bar", "1"}},
		"add a file": {{"foo", "1"}, {"foo", "1", "bar", "1"}},
		"add a directory": {{"foo", "1"}, {"foo", "1", "d/bar", "1"},
			{"foo", "1", "d/bar", "1", "d/e/baz", "1"}},
		"delete a file":         {{"foo", "1", "bar", "1"}, {"foo", "1"}},
		"delete in a directory": {{"d/foo", "1", "d/bar", "1"}, {"d/foo", "1"}},
		"delete a directory":    {{"foo", "1", "d/e/bar", "1"}, {"foo", "1"}},
		"delete all but one":    {{"a", "1", "b", "1", "c/d", "1"}, {"z", "1"}},
		"delete all":            {{"a", "1", "c/d", "1"}, {}},
		"add and delete": {{"foo", "1", "d/bar", "1"}, {"baz", "1", "e/bar", "1"},
			{"foo", "1", "d/bar", "1"}},
		"a file becomes a directory": {{"foo", "1"}, {"foo/bar", "1"}},
		"a directory becomes a file": {{"foo/bar", "1"}, {"foo", "1"}},
		"clear and fill":             {{"foo", "1"}, {"foo", ""}, {"foo", "2"}},
		"paths swap":                 {{"a", "1", "b", "2"}, {"a", "2", "b", "1"}},
	} {
		for _, layout := range layouts {
			t.Run(name, func(t *testing.T) {
				dir, c := testsupport.MemoryDir(t), newClock()
				opts := quiet(testOptions(t, dir))
				opts.Layout, opts.now = layout, c.Now
				w := opened(t, opts)
				var last uint64
				for i, p := range steps {
					set := one("db", files(itoa(i), p...))
					n := publish(t, w, set)
					before := one("db", files("", steps[max(i-1, 0)]...))
					want := !maps.EqualFunc(set.Secrets["db"].Values, before.Secrets["db"].Values, secret.Value.Equal)
					if i > 0 && (n != last) != want {
						t.Errorf("step %d: generation %d after %d, want a new one: %v", i, n, last, want)
					}
					last = n
					equal(t, "visible", visible(t, dir), shown(layout, set))
				}
				endGracePeriods(w, c)
				entries, err := os.ReadDir(dir)
				must(err)
				generations := 0
				for _, e := range entries {
					if generation.GenerationName.MatchString(e.Name()) {
						generations++
					}
				}
				if generations != 1 {
					t.Errorf("got %d generations in the end, want 1", generations)
				}
			})
		}
	}
}

// TestPublish_conflicts: Secrets with conflicting paths are rejected, and change nothing.
func TestPublish_conflicts(t *testing.T) {
	for name, tt := range map[string]struct {
		layout Layout
		set    Content
	}{
		"file and directory":           {generation.Nested, one("db", files("1", "a", "x", "a/b", "y"))},
		"the same path of two":         {generation.Flat, two("a", files("1", "k", "x"), "b", files("1", "k", "y"))},
		"file and directory of two":    {generation.Flat, two("a", files("1", "k/x", "x"), "b", files("1", "k", "y"))},
		"file and directory, reversed": {generation.Flat, two("a", files("1", "k", "x"), "b", files("1", "k/x", "y"))},
	} {
		t.Run(name, func(t *testing.T) {
			dir := testsupport.MemoryDir(t)
			opts := testOptions(t, dir)
			opts.Layout = tt.layout
			w := opened(t, opts)
			if _, err := w.Publish(context.Background(), tt.set); err == nil {
				t.Error("published")
			}
			equal(t, "in the volume", tree(t, dir), map[string]string{})
		})
	}
}
