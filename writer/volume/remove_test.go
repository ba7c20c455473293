package volume

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
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

// TestFiles_limits: Files omits paths that no record may contain, and after a limit everything, the deepest first.
func TestFiles_limits(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	v := opened(t, dir)
	for _, name := range []string{"d/a", "d/b/c", "d/b/..x/y", "d/..z", "d/b/e/f"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, os.Symlink("a", filepath.Join(dir, "d/link")))
	if got, err := v.Files("d"); err != nil || !slices.Equal(got, []string{"a", "b/c", "b/e/f"}) {
		t.Errorf("got %q, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "d"))
	must(t, err)
	v.Calls = planting{v.Calls, entries}
	if got, err := v.Files("d"); err != nil || len(got) == 0 || len(got) > maxNames/32 {
		t.Errorf("got %d paths, %v", len(got), err)
	}
}

// planting shows endless copies of entries in each directory.
type planting struct {
	Calls
	entries []fs.DirEntry
}

func (p planting) ReadDir(string) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		for i := 0; yield(p.entries[i%len(p.entries)], nil); i++ {
		}
	}
}

// TestDiskSize_limit: DiskSize rounds the sizes of files and of the record up, and stops above a limit.
func TestDiskSize_limit(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	v := opened(t, dir)
	must(t, os.MkdirAll(filepath.Join(dir, "d/e"), 0o700))
	for name, size := range map[string]int{"d/a": 1, "d/e/b": 4097, "d/empty": 0, "d.json": 5000} {
		must(t, os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600))
	}
	if got := v.DiskSize("d", 1<<20); got != 24<<10 {
		t.Errorf("got %d, want %d", got, 24<<10)
	}
	for i := range 1000 {
		must(t, os.WriteFile(filepath.Join(dir, "d", strconv.Itoa(i)), nil, 0o600))
	}
	if got := v.DiskSize("d", 100<<10); got < 100<<10 || got > 104<<10 {
		t.Errorf("got %d, want little more than the limit", got)
	}
}
