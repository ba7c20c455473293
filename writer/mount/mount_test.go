package mount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *Mount {
	t.Helper()
	m, err := Open(dir)
	must(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m.(*Mount)
}

// The seam's tests see that a sync is asked for; this one that the kernel is: it
// rejects descriptors that cannot be synced.
func TestSyncReachesTheKernel(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	fd := int(f.Fd())
	must(t, f.Close())
	for _, name := range []string{".", "db"} {
		m := &Mount{held: map[string]int{name: fd}}
		err := m.SyncDir(name)
		if want := "fsync " + name + ": bad file descriptor"; err == nil || err.Error() != want {
			t.Errorf("a directory that is closed: got %v, want %q", err, want)
		}
	}
	m := open(t, t.TempDir())
	file, err := m.Create("file", 0o600)
	must(t, err)
	must(t, file.Sync())
	must(t, file.Close())
	if err := file.Sync(); !errors.Is(err, unix.EBADF) {
		t.Errorf("a file that is closed: got %v, want EBADF", err)
	}
}

// Through an open directory no link is followed, at the end of a name or as the
// directory itself.
func TestHeldDirectoriesFollowNoLink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	m := open(t, dir)
	theirs := filepath.Join(outside, "file")
	must(t, os.WriteFile(theirs, []byte("theirs"), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "held"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	must(t, os.Symlink("held", filepath.Join(dir, "inner")))
	must(t, os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "held", "new")))
	must(t, os.Symlink(theirs, filepath.Join(dir, "held", "file")))
	before, err := os.Stat(theirs)
	must(t, err)
	for _, link := range []string{"link", "inner"} {
		defer m.Hold(link)()
		if m.held[link] != 0 {
			t.Errorf("a link %s in the place of a directory is held, want it refused", link)
		}
		if f, err := m.Create(link+"/x", 0o600); err == nil {
			_ = f.Close()
			t.Errorf("made a file through the link %s", link)
		}
	}
	defer m.Hold("held")()
	if m.held["held"] == 0 {
		t.Error("a directory is not held")
	}
	if _, err := m.Create("held/new", 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link in the place of a new file: got %v, want that it exists", err)
	}
	_ = m.Chmod("held/file", 0o600)
	must(t, m.Remove("held/file"))
	after, err := os.Stat(theirs)
	must(t, err)
	if before.Sys().(*syscall.Stat_t).Ctim != after.Sys().(*syscall.Stat_t).Ctim {
		t.Error("the file that a link points to was touched")
	}
}

// On a kernel before 6.6 chmod goes through an open handle: no file is opened for
// that, so that none has to be readable, and no link is followed.
func TestChmodOfAnOlderKernel(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	mode := func(name string) fs.FileMode {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		return info.Mode().Perm()
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o000))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o500))
	must(t, os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o644))
	must(t, os.Symlink("theirs", filepath.Join(dir, "link")))
	must(t, chmodOpened(m.held["."], "file", 0o440))
	must(t, chmodOpened(m.held["."], "dir", 0o750))
	_ = chmodOpened(m.held["."], "link", 0o600)
	if mode("file") != 0o440 || mode("dir") != 0o750 {
		t.Errorf("got %o and %o, want 440 and 750", mode("file"), mode("dir"))
	}
	if got := mode("theirs"); got != 0o644 {
		t.Errorf("what a link points to: got %o, want 644", got)
	}
}

// A link in the middle of a name is not followed, however deep the name goes on.
func TestNoLinkInsideANameIsFollowed(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	must(t, os.MkdirAll(filepath.Join(dir, "new", "conf"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "new", "conf", "key"), []byte("x"), 0o644))
	must(t, os.Symlink("new", filepath.Join(dir, "old")))
	if err := m.Remove("old/conf/key"); err == nil {
		t.Error("removed a file through a link")
	}
	if _, err := m.ReadFile("old/conf/key"); err == nil {
		t.Error("read a file through a link")
	}
	if _, err := m.Lstat("new/conf/key"); err != nil {
		t.Error(err)
	}
}

// What is not a regular file is an error, not an empty file.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for _, name := range []string{"fifo", "dir"} {
		if _, err := m.ReadFile(name); !errors.Is(err, errType) {
			t.Errorf("%s: got %v, want %v", name, err, errType)
		}
	}
}
