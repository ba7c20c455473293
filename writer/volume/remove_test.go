package volume

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

func always() bool { return true }

// TestRemoveOwn_onlyOwnEntries: entries of the program are removed. All others stay,
// and foreign entries directly in the volume are reported.
func TestRemoveOwn_onlyOwnEntries(t *testing.T) {
	const gen = "..2026_11_22_10_44_52.193935138"
	dir := t.TempDir()
	v := opened(t, dir)
	for name, plant := range map[string]func(p string) error{
		gen: occupy["a directory"], gen +
			".json": occupy["a file"], "..data": occupy["a FIFO"], "..data_tmp": occupy["a directory"],
		"secret": func(p string) error {
			must(t, os.Mkdir(p, 0o755))
			return os.Symlink("../..data/secret", p+"/..data")
		},
		"key":       func(p string) error { return os.Symlink("..data/key", p) },
		"foreign":   occupy["a file"],
		"..other":   occupy["a directory"],
		"elsewhere": func(p string) error { return os.Symlink("/etc", p) },
		"likeours": func(p string) error {
			must(t, os.Mkdir(p, 0o755))
			return os.Symlink("../..data/other", p+"/..data")
		},
	} {
		must(t, plant(filepath.Join(dir, name)))
	}
	for _, name := range []string{gen, "..data", "..data_tmp", "secret", "key", "missing"} {
		if foreign, err := v.RemoveOwn(name, always); err != nil || foreign && name != "missing" || !v.IsGone(name) {
			t.Errorf("%s: foreign %v, %v", name, foreign, err)
		}
	}
	if !v.IsGone(gen + ".json") {
		t.Error("the record of a generation stays")
	}
	for _, name := range []string{"foreign", "..other", "elsewhere", "likeours"} {
		if foreign, err := v.RemoveOwn(name, always); err != nil || !foreign || v.IsGone(name) {
			t.Errorf("%s: foreign %v, %v", name, foreign, err)
		}
	}
	if foreign, err := v.RemoveOwn("likeours/..data", always); err != nil || foreign {
		t.Errorf("an entry below: foreign %v, %v", foreign, err)
	}
}

// exhausted is a volume whose process has no descriptor left to read below an entry.
type exhausted struct {
	Calls
	name string
}

func (e exhausted) Readlink(name string) (string, error) {
	if name == e.name {
		return "", syscall.EMFILE
	}
	return e.Calls.Readlink(name)
}

// TestRemoveOwn_unknown: an entry that cannot be examined is not foreign, neither for a
// removal nor for the first publish. It stays.
func TestRemoveOwn_unknown(t *testing.T) {
	dir := t.TempDir()
	v := opened(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o755))
	must(t, os.Symlink("../..data/db", filepath.Join(dir, "db/..data")))
	must(t, os.Symlink("..data/key", filepath.Join(dir, "key")))
	for entry, failing := range map[string]string{"db": "db/..data", "key": "key"} {
		broken := Volume{exhausted{v.Calls, failing}}
		if foreign, err := broken.RemoveOwn(entry, always); foreign || !errors.Is(err,
			syscall.EMFILE) || v.IsGone(entry) {
			t.Errorf("remove %s: got foreign %v, %v, want EMFILE", entry, foreign, err)
		}
		err := broken.CheckFree(dir, []generation.Entry{{Path: entry}})
		if errors.Is(err, ErrUnusable) || !errors.Is(err, syscall.EMFILE) {
			t.Errorf("check %s: got %v, want EMFILE", entry, err)
		}
		if err := v.CheckFree(dir, []generation.Entry{{Path: entry}}); err != nil {
			t.Errorf("check %s: got %v, want no error", entry, err)
		}
	}
}

// TestRemoveAll_deepTree: a planted tree of 3,000 nested directories with files, some
// of them without permissions, costs neither a path nor a recursion of that depth.
func TestRemoveAll_deepTree(t *testing.T) {
	dir := t.TempDir()
	v := opened(t, dir)
	at, err := os.OpenRoot(dir)
	must(t, err)
	for i := range 3000 {
		must(t, at.Mkdir("d", 0o700))
		f, err := at.Create("file")
		must(t, err)
		must(t, f.Close())
		next, err := at.OpenRoot("d")
		must(t, err)
		if i%100 == 99 {
			must(t, at.Chmod("d", 0o000))
		}
		must(t, at.Close())
		at = next
	}
	must(t, at.Close())
	longest := 0
	v.Calls = measuring{v.Calls, &longest}
	if err := v.RemoveAll("d", Limit(t.Context())); err != nil || !v.IsGone("d") {
		t.Errorf("got %v, want no error", err)
	}
	if longest > 100 {
		t.Errorf("a path of %d bytes, want short ones", longest)
	}
}

// measuring records the length of the longest removed path.
type measuring struct {
	Calls
	longest *int
}

func (m measuring) Remove(names ...string) error {
	for _, name := range names {
		*m.longest = max(*m.longest, len(name))
	}
	return m.Calls.Remove(names...)
}

// TestRemoveAll_isBounded: a removal of too many entries ends and can be continued.
func TestRemoveAll_isBounded(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	v := opened(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	for i := range MaxRemoved + 10 {
		must(t, syscall.Mknod(filepath.Join(dir, "d", strconv.Itoa(i)), syscall.S_IFREG|0o600, 0))
	}
	if err := v.RemoveAll("d", Limit(t.Context())); !errors.Is(err, ErrMoreEntries) {
		t.Errorf("got %v, want %v", err, ErrMoreEntries)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "d")); len(entries) == 0 || len(entries) > 20 {
		t.Errorf("%d entries are left", len(entries))
	}
	if err := v.RemoveAll("d", Limit(t.Context())); err != nil || !v.IsGone("d") {
		t.Errorf("again: %v", err)
	}
}

// TestRemoveAll_isBoundedBelow: a removal removes a limited number of entries of a subdirectory, too.
func TestRemoveAll_isBoundedBelow(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	v := opened(t, dir)
	must(t, os.MkdirAll(filepath.Join(dir, "d/full"), 0o700))
	for i := range MaxRemoved + 10 {
		must(t, syscall.Mknod(filepath.Join(dir, "d/full", strconv.Itoa(i)), syscall.S_IFREG|0o600, 0))
	}
	if err := v.RemoveAll("d", Limit(t.Context())); !errors.Is(err, ErrMoreEntries) {
		t.Errorf("got %v, want %v", err, ErrMoreEntries)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "d/full")); len(entries) != 12 {
		t.Errorf("%d entries are left in the directory, want 12: both directories count, too", len(entries))
	}
}

// denying denies access to a directory and its entries until its mode is changed. If the
// directory is readable, it denies only changes.
type denying struct {
	Calls
	dir      string
	denied   bool
	readable bool
}

func (d *denying) check(dir string) error {
	if d.denied && dir == d.dir {
		return syscall.EACCES
	}
	return nil
}

func (d *denying) ReadDir(name string) iter.Seq2[fs.DirEntry, error] {
	if err := d.check(name); err != nil && !d.readable {
		return func(yield func(fs.DirEntry, error) bool) { yield(nil, err) }
	}
	return d.Calls.ReadDir(name)
}

func (d *denying) Rename(from, to string) error {
	if err := errors.Join(d.check(from), d.check(filepath.Dir(from))); err != nil {
		return err
	}
	return d.Calls.Rename(from, to)
}

func (d *denying) Chmod(mode fs.FileMode, names ...string) error {
	d.denied = d.denied && names[0] != d.dir
	return d.Calls.Chmod(mode, names...)
}

// TestRemoveAll_allowsAccess: the mode of a planted directory at any depth does not
// prevent its removal, also if the tests do not run as root.
func TestRemoveAll_allowsAccess(t *testing.T) {
	for _, name := range []string{"a", "a/b", "a/b/c"} {
		for _, readable := range []bool{false, true} {
			dir := t.TempDir()
			v := opened(t, dir)
			must(t, os.MkdirAll(filepath.Join(dir, "a/b/c/d"), 0o700))
			v.Calls = &denying{v.Calls, name, true, readable}
			if err := v.RemoveAll("a", Limit(t.Context())); err != nil || !v.IsGone("a") {
				t.Errorf("%s, readable %v: got %v, want no error", name, readable, err)
			}
		}
	}
}
