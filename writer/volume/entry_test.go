package volume

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

func fileEntry(name, data string) generation.Entry {
	return generation.Entry{Path: name, Mode: 0o644, Data: secret.Value(data)}
}

func dirEntry(name string) generation.Entry {
	return generation.Entry{Path: name, Mode: fs.ModeDir | 0o755}
}

func linkEntry(name, target string) generation.Entry {
	return generation.Entry{Path: name, Mode: fs.ModeSymlink, Target: target}
}

// occupy puts each kind of entry in the place of a name.
var occupy = map[string]func(p string) error{
	"nothing":         func(string) error { return nil },
	"a file":          func(p string) error { return os.WriteFile(p, []byte("other"), 0o600) },
	"a directory":     func(p string) error { return os.MkdirAll(p+"/full/deep", 0o700) },
	"a link":          func(p string) error { return os.Symlink("/etc", p) },
	"a dangling link": func(p string) error { return os.Symlink("nowhere", p) },
	"a FIFO":          func(p string) error { return syscall.Mkfifo(p, 0o600) },
}

// TestRestore_replacesEverything: after Restore, the entry exists and the temporary
// entry does not, whatever was in their places.
func TestRestore_replacesEverything(t *testing.T) {
	for place, plant := range occupy {
		for _, e := range []generation.Entry{fileEntry("name", "data"), dirEntry("name"), linkEntry("name", "..data/name")} {
			for _, at := range []string{"name", generation.Temporary} {
				dir := t.TempDir()
				v := opened(t, dir)
				must(t, plant(filepath.Join(dir, at)))
				if differs, err := v.Differs(e); err != nil || !differs && !(place == "a directory" && e.Mode.IsDir()) {
					t.Errorf("%s at %s, before %v: differs %v, %v", place, at, e.Mode, differs, err)
				}
				if err := v.Restore(e); err != nil {
					t.Errorf("%s at %s: %v", place, at, err)
				}
				if differs, err := v.Differs(e); err != nil || differs {
					t.Errorf("%s at %s, after %v: differs %v, %v", place, at, e.Mode, differs, err)
				}
				if !v.IsGone(generation.Temporary) && at == "name" {
					t.Errorf("%s: the temporary entry is left", place)
				}
			}
		}
	}
}

// TestDiffers_inEveryAttribute changes a single attribute of an entry at a time.
func TestDiffers_inEveryAttribute(t *testing.T) {
	dir := t.TempDir()
	v := opened(t, dir)
	e := fileEntry("file", "data")
	must(t, v.Add(e))
	must(t, v.Add(linkEntry("link", "..data/link")))
	must(t, v.Add(dirEntry("dir")))
	other := e
	other.Mode = 0o600
	for name, e := range map[string]generation.Entry{
		"data": fileEntry("file", "Data"), "length": fileEntry("file", "dat"), "mode": other,
		"target": linkEntry("link", "..data/other"), "type": dirEntry("file"), "missing": fileEntry("none", ""),
		"mode of a directory": {Path: "dir", Mode: fs.ModeDir | 0o700}, "below a file": fileEntry("file/x", ""),
	} {
		if differs, err := v.Differs(e); err != nil || !differs {
			t.Errorf("%s: got %v, %v, want that it differs", name, differs, err)
		}
	}
	for _, same := range []generation.Entry{e, linkEntry("link", "..data/link"), dirEntry("dir")} {
		if differs, err := v.Differs(same); err != nil || differs {
			t.Errorf("%s: got %v, %v, want no difference", same.Path, differs, err)
		}
	}
}

// failing fails every reading call.
type failing struct {
	Calls
	err error
}

func (f failing) Lstat(string) (Info, error)      { return Info{}, f.err }
func (f failing) Readlink(string) (string, error) { return "", f.err }

// TestDiffers_unknown: after an error unrelated to the entry, Differs reports
// neither a difference nor a match.
func TestDiffers_unknown(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO} {
		for _, e := range []generation.Entry{fileEntry("x", ""), linkEntry("x", "y"), dirEntry("x")} {
			if differs, err := (Volume{failing{err: errno}}).Differs(e); differs || !errors.Is(err, errno) {
				t.Errorf("%v: got %v, %v", errno, differs, err)
			}
		}
	}
	if differs, err := (Volume{failing{err: syscall.EACCES}}).Differs(fileEntry("x", "")); !differs || err != nil {
		t.Errorf("a file of another user: got %v, %v, want that it differs", differs, err)
	}
}

// TestRestore_leavesAPlaceThatCannotBeExamined: the entry may be right.
func TestRestore_leavesAPlaceThatCannotBeExamined(t *testing.T) {
	v := Volume{failing{err: syscall.EIO}} // any other call would panic
	if err := v.Restore(dirEntry("x")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
}

// TestRemoveOwn_onlyOwnEntries: entries of the program are removed. All others stay,
// and foreign entries directly in the volume are reported.
func TestRemoveOwn_onlyOwnEntries(t *testing.T) {
	const gen = "..2026_11_22_10_44_52.193935138"
	dir := t.TempDir()
	v := opened(t, dir)
	for name, plant := range map[string]func(p string) error{
		gen: occupy["a directory"], gen + ".json": occupy["a file"], "..data": occupy["a FIFO"], "..data_tmp": occupy["a directory"],
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
		if foreign, err := v.RemoveOwn(name); err != nil || foreign && name != "missing" || !v.IsGone(name) {
			t.Errorf("%s: foreign %v, %v", name, foreign, err)
		}
	}
	if !v.IsGone(gen + ".json") {
		t.Error("the record of a generation stays")
	}
	for _, name := range []string{"foreign", "..other", "elsewhere", "likeours"} {
		if foreign, err := v.RemoveOwn(name); err != nil || !foreign || v.IsGone(name) {
			t.Errorf("%s: foreign %v, %v", name, foreign, err)
		}
	}
	if foreign, err := v.RemoveOwn("likeours/..data"); err != nil || foreign {
		t.Errorf("an entry below: foreign %v, %v", foreign, err)
	}
}

// TestOpen_unusable: each error names the cause and wraps ErrUnusable.
func TestOpen_unusable(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	opened(t, dir)
	for _, p := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "file"), dir} {
		if _, err := Open(t.Context(), p); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: got %v, want ErrUnusable", p, err)
		}
	}
	if v, err := OpenUnlocked(dir); err != nil || v.Close() != nil {
		t.Errorf("without the lock: %v", err)
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
	if err := v.RemoveAll("d"); err != nil || !v.IsGone("d") {
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

func (m measuring) Remove(dir string, names ...string) error {
	*m.longest = max(*m.longest, len(dir))
	return m.Calls.Remove(dir, names...)
}

// TestRemoveAll_isBounded: a removal of too many entries ends and can be continued.
func TestRemoveAll_isBounded(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	v := opened(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	for i := range maxRemoved + 10 {
		must(t, syscall.Mknod(filepath.Join(dir, "d", strconv.Itoa(i)), syscall.S_IFREG|0o600, 0))
	}
	if err := v.RemoveAll("d"); !errors.Is(err, errMoreEntries) {
		t.Errorf("got %v, want %v", err, errMoreEntries)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "d")); len(entries) == 0 || len(entries) > 20 {
		t.Errorf("%d entries are left", len(entries))
	}
	if err := v.RemoveAll("d"); err != nil || !v.IsGone("d") {
		t.Errorf("again: %v", err)
	}
}

// TestOpen_lockFile: nobody can open the lock file for reading, so a process with
// read access only cannot lock it.
func TestOpen_lockFile(t *testing.T) {
	for place, plant := range occupy {
		dir := t.TempDir()
		must(t, plant(filepath.Join(dir, generation.LockFile)))
		reader, err := os.Open(dir)
		must(t, err)
		must(t, syscall.Flock(int(reader.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
		v, err := Open(t.Context(), dir)
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		info, err := os.Lstat(filepath.Join(dir, generation.LockFile))
		if err != nil || info.Mode() != 0o200 {
			t.Errorf("%s: the lock file is %v, %v, want mode 0200", place, info, err)
		}
		if _, err := Open(t.Context(), dir); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: a second writer: got %v", place, err)
		}
		must(t, v.Close())
		must(t, reader.Close())
		opened(t, dir)
	}
}

// TestOpen_stopsWithContext: the end of the context ends the wait for the lock.
func TestOpen_stopsWithContext(t *testing.T) {
	dir := t.TempDir()
	opened(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if _, err := Open(ctx, dir); !errors.Is(err, context.Canceled) || time.Since(began) > lockPatience/2 {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}

// TestRestore_keepsSetgid: a directory with another mode gets its mode back, and keeps
// the setgid bit of an fsGroup and its entries.
func TestRestore_keepsSetgid(t *testing.T) {
	dir := t.TempDir()
	v := opened(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "db"), 0o700|fs.ModeSetgid))
	must(t, v.Add(fileEntry("db/key", "x")))
	must(t, v.Restore(dirEntry("db")))
	if info, err := v.Lstat("db"); err != nil || info.Mode != fs.ModeDir|fs.ModeSetgid|0o755 || v.IsGone("db/key") {
		t.Errorf("got %v, %v, want mode 755 with setgid and the file", info.Mode, err)
	}
}

// denying denies access to a directory and its entries until its mode is changed.
type denying struct {
	Calls
	dir    string
	denied bool
}

func (d *denying) check(dir string) error {
	if d.denied && dir == d.dir {
		return syscall.EACCES
	}
	return nil
}

func (d *denying) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.check(name); err != nil {
		return nil, err
	}
	return d.Calls.ReadDir(name)
}

func (d *denying) Rename(from, to string) error {
	if err := d.check(from); err != nil {
		return err
	}
	return d.Calls.Rename(from, to)
}

func (d *denying) Chmod(dir string, mode fs.FileMode, names ...string) error {
	d.denied = d.denied && filepath.Join(dir, names[0]) != d.dir
	return d.Calls.Chmod(dir, mode, names...)
}

// TestRemoveAll_allowsAccess: the mode of a planted directory at any depth does not
// prevent its removal, also if the tests do not run as root.
func TestRemoveAll_allowsAccess(t *testing.T) {
	for _, name := range []string{"a", "a/b", "a/b/c"} {
		dir := t.TempDir()
		v := opened(t, dir)
		must(t, os.MkdirAll(filepath.Join(dir, "a/b/c/d"), 0o700))
		v.Calls = &denying{v.Calls, name, true}
		if err := v.RemoveAll("a"); err != nil || !v.IsGone("a") {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
}

// lying makes a rename and reports that it failed, as a disk with errors may.
type lying struct{ Calls }

func (l lying) Rename(from, to string) error {
	return errors.Join(syscall.EIO, l.Calls.Rename(from, to))
}

// TestReplace_noticesSuccess: a rename of ..data that took effect is a success. Apps
// would otherwise return to the old files.
func TestReplace_noticesSuccess(t *testing.T) {
	v := opened(t, t.TempDir())
	v.Calls = lying{v.Calls}
	if err := v.Replace(linkEntry("..data", "new")); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}
