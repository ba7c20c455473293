package volume

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/secret"
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
		for _, e := range []generation.Entry{fileEntry("name", "data"), dirEntry("name"),
			linkEntry("name", "..data/name")} {
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

// counting counts the removals and renames.
type counting struct {
	Calls
	changes *int
}

func (c counting) Remove(names ...string) error {
	*c.changes += len(names)
	return c.Calls.Remove(names...)
}

func (c counting) Rename(from, to string) error {
	*c.changes++
	return c.Calls.Rename(from, to)
}

// TestReplace_plantedDirectory: the number of entries of a directory in the way does not matter. The directory becomes
// a leftover, whose removal succeeds.
func TestReplace_plantedDirectory(t *testing.T) {
	for _, place := range []string{"..data", generation.Temporary, "db/..data", "db/" + generation.Temporary} {
		dir, changes := t.TempDir(), 0
		v := opened(t, dir)
		for i := range 100 {
			must(t, os.MkdirAll(filepath.Join(dir, place, strconv.Itoa(i), "deep"), 0o700))
		}
		must(t, os.Chmod(filepath.Join(dir, place), 0))
		if os.Geteuid() == 0 {
			must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error {
				return os.Chown(p, 65534, 65534)
			}))
		}
		v.Calls = counting{v.Calls, &changes}
		var err error
		asUser(func() { err = v.Replace(linkEntry(path.Join(path.Dir(place), "..data"), "new")) })
		must(t, err)
		if changes > 5 {
			t.Errorf("%s: %d removals and renames, want few", place, changes)
		}
		names, err := list(v, ".")
		must(t, err)
		for _, name := range names {
			if generation.GenerationName.MatchString(name) {
				place = ""
				if _, err := v.RemoveOwn(name, always); err != nil || !v.IsGone(name) {
					t.Errorf("the leftover %s: %v", name, err)
				}
			}
		}
		if place != "" {
			t.Errorf("%s: got no leftover in %v", place, names)
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
	must(t, v.Add(dirEntry("fsGroup")))
	must(t, os.Chmod(filepath.Join(dir, "fsGroup"), 0o755|fs.ModeSetgid)) // a new directory inherits it
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
	for _, same := range []generation.Entry{e, linkEntry("link", "..data/link"), dirEntry("dir"),
		dirEntry("fsGroup")} {
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
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO, syscall.EAGAIN} {
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

// lying makes a rename and reports that it failed, as a disk with errors may.
type lying struct{ Calls }

func (l lying) Rename(from, to string) error {
	return errors.Join(syscall.EIO, l.Calls.Rename(from, to))
}

// TestReplace_noticesSuccess: a rename of ..data that took effect is a success. Apps
// would otherwise return to the old files.
func TestReplace_noticesSuccess(t *testing.T) {
	v := opened(t, t.TempDir())
	v.Calls = lying(v)
	if err := v.Replace(linkEntry("..data", "new")); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

// TestAdd_tooLarge: no file is written that ReadFile cannot read, such as a record that has grown.
func TestAdd_tooLarge(t *testing.T) {
	v := opened(t, t.TempDir())
	for size, want := range map[int]error{MaxFile: nil, MaxFile + 1: ErrTooLarge} {
		e := fileEntry("x"+strconv.Itoa(size), strings.Repeat("x", size))
		if err := v.Replace(e); !errors.Is(err, want) {
			t.Errorf("%d bytes: got %v, want %v", size, err, want)
		}
	}
}
