package writer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The seam's tests see that a sync is asked for; this one that the kernel is: it
// says so of descriptors that cannot be synced. On tmpfs it is not.
func TestSyncReachesTheKernelButOnTmpfs(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	must(err)
	must(f.Close())
	for _, memory := range []bool{false, true} {
		file := (&rawFile{fd: -1, memory: memory}).Sync()
		dir := (&rootVolume{dir: f, memory: memory}).SyncDir(".")
		if (file == nil) != memory || (dir == nil) != memory {
			t.Errorf("memory %v: got %v for a file and %v for the volume", memory, file, dir)
		}
	}
	for dir, memory := range map[string]bool{memoryDir(t): true, "/proc/self": false} {
		root, err := os.Open(dir)
		must(err)
		if got := onMemory(int(root.Fd())); got != memory {
			t.Errorf("%s: got memory %v, want %v", dir, got, memory)
		}
		must(root.Close())
	}
}

// Through an open directory no link is followed, at the end of a name or as the
// directory itself.
func TestHeldDirectoriesFollowNoLink(t *testing.T) {
	dir, outside := memoryDir(t), memoryDir(t)
	put(outside, "file", "theirs")
	w := open(t, testOptions(t, dir))
	must(os.Mkdir(filepath.Join(dir, "held"), 0o755))
	must(os.Symlink(outside, filepath.Join(dir, "link")))
	must(os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "held", "new")))
	must(os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "held", "file")))
	defer w.vol.Hold("held")()
	w.vol.Hold("link")()
	if _, err := w.vol.(*rootVolume).openDir("link"); !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link in the place of a directory: got %v, want it refused", err)
	}
	if _, err := w.vol.Create("held/new"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link in the place of a new file: got %v, want that it exists", err)
	}
	before, err := os.Stat(filepath.Join(outside, "file"))
	must(err)
	_ = w.vol.Wake("held/file")
	must(w.vol.Remove("held/file"))
	after, err := os.Stat(filepath.Join(outside, "file"))
	must(err)
	if before.Sys().(*syscall.Stat_t).Ctim != after.Sys().(*syscall.Stat_t).Ctim {
		t.Error("the file that a link leads to was touched")
	}
}
