package writer

import (
	"errors"
	"fmt"
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
	release, held := w.vol.Hold("held")
	defer release()
	if !held {
		t.Fatal("a directory is not held")
	}
	if _, held := w.vol.Hold("link"); held {
		t.Error("a link is held")
	}
	if _, err := w.vol.(*rootVolume).openDir("link"); !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link in the place of a directory: got %v, want it refused", err)
	}
	if _, err := w.vol.Create("held/new", 0o600); !errors.Is(err, fs.ErrExist) {
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

// TestOldGenerationIsALink: what someone put in the place of an old generation's
// directory is removed, and nothing that it leads to.
func TestOldGenerationIsALink(t *testing.T) {
	for _, flat := range []bool{false, true} {
		for _, place := range []string{"the generation", "a Secret's directory in it"} {
			if flat && place != "the generation" {
				continue
			}
			t.Run(fmt.Sprint(place, ", flat: ", flat), func(t *testing.T) {
				dir := memoryDir(t)
				opts := testOptions(t, dir)
				opts.Flat = flat
				opts.notify = noInotify
				w := open(t, opts)
				publish(t, w, payloadOf(1, 1, 100))
				old := w.current.Load().dir
				publish(t, w, payloadOf(2, 1, 100))
				from, to := filepath.Join(dir, old), w.current.Load().dir
				if place != "the generation" {
					from, to = filepath.Join(from, "db"), filepath.Join("..", to, "db")
				}
				must(os.RemoveAll(from))
				must(os.Symlink(to, from))
				if w.mu.Lock(); !w.dropOldest() {
					t.Error("nothing was dropped")
				}
				w.mu.Unlock()
				if wounds := w.inspect(w.current.Load()); len(wounds) > 0 {
					t.Errorf("the generation that apps see: got %v, want it whole", wounds)
				}
				if _, err := os.Lstat(filepath.Join(dir, old)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the old one: got %v, want it gone", err)
				}
			})
		}
	}
}
