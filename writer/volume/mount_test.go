package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opened opens the volume at dir.
func opened(t *testing.T, dir string) Volume {
	t.Helper()
	v, err := Open(t.Context(), dir)
	must(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// planted is a volume with a directory and links: a link to a directory outside, a
// link to the directory itself, and a link in it to a file outside.
func planted(t *testing.T) (v Volume, dir, outside string) {
	t.Helper()
	dir, outside = t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("foreign"), 0o644))
	must(t, os.MkdirAll(filepath.Join(dir, "real", "deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "real", "deep", "key"), []byte("x"), 0o644))
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	must(t, os.Symlink("real", filepath.Join(dir, "inner")))
	must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "real", "file")))
	return opened(t, dir), dir, outside
}

// list returns the names in a directory.
func list(v Volume, dir string) (names []string, err error) {
	for e, err := range v.ReadDir(dir) {
		if err != nil {
			return nil, err
		}
		names = append(names, e.Name())
	}
	return names, nil
}

// TestSyncDir_reachesTheKernel: the kernel cannot sync a descriptor opened with
// O_PATH, so the error proves the call.
func TestSyncDir_reachesTheKernel(t *testing.T) {
	f, err := os.OpenFile(t.TempDir(), unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer f.Close()
	if err := (&mount{dir: f}).SyncDir("."); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}

// TestSyncDir_doesNotAcceptALink: a sync of another directory would prove nothing.
func TestSyncDir_doesNotAcceptALink(t *testing.T) {
	v, _, _ := planted(t)
	must(t, v.SyncDir("real/deep"))
	for _, name := range []string{"inner", "link", "inner/deep", "missing"} {
		if err := v.SyncDir(name); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestMount_followsNoLink makes every call through links in the place of a
// directory: none may succeed, and nothing outside may change.
func TestMount_followsNoLink(t *testing.T) {
	v, dir, outside := planted(t)
	before, err := os.Stat(filepath.Join(outside, "file"))
	must(t, err)
	for _, link := range []string{"link", "inner"} {
		for call, err := range map[string]error{
			"Mkdir":    v.Mkdir(link+"/new", 0o755),
			"Chmod":    v.Chmod(0o600, link+"/file"),
			"Symlink":  v.Symlink("x", link+"/new"),
			"Rename":   v.Rename(link+"/file", link+"/new"),
			"Remove":   v.Remove(link + "/file"),
			"Create":   second(v.Create(link+"/new", 0o600)),
			"Lstat":    second(v.Lstat(link + "/file")),
			"Readlink": second(v.Readlink(link + "/file")),
			"ReadDir":  second(list(v, link)),
			"ReadFile": second(v.ReadFile(link + "/file")),
			"deep":     second(v.ReadFile("inner/deep/key")),
		} {
			if err == nil {
				t.Errorf("%s through %s: got no error", call, link)
			}
		}
	}
	if _, err := v.ReadFile("real/file"); err == nil {
		t.Error("read a file through a link in its place")
	}
	if _, err := v.Create("real/file", 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link in the place of a new file: got %v, want that it exists", err)
	}
	must(t, v.Remove("real/file"))
	after, err := os.Stat(filepath.Join(outside, "file"))
	must(t, err)
	if before.Sys().(*syscall.Stat_t).Ctim != after.Sys().(*syscall.Stat_t).Ctim {
		t.Error("the file outside changed")
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "real")); len(entries) != 1 {
		t.Errorf("in real: got %v, want only deep", entries)
	}
}

func second[T any](_ T, err error) error { return err }

// olderKernel returns m on a kernel without openat2(2) and fchmodat2(2).
func olderKernel(m *mount) *mount {
	return &mount{dir: m.dir, openat2: func(int, string, *unix.OpenHow) (int, error) { return -1, unix.ENOSYS },
		fchmodat: func(int, string, uint32, int) error { return unix.EOPNOTSUPP }}
}

// TestOpen_behavesAsOpenat2: the fallback for kernels without openat2(2) opens the
// same entries and rejects the same links.
func TestOpen_behavesAsOpenat2(t *testing.T) {
	v, _, _ := planted(t)
	m := v.Calls.(*mount)
	old := olderKernel(m)
	for name, want := range map[string]error{
		".": nil, "real": nil, "real/deep": nil, "real/deep/key": nil,
		"inner/deep": unix.ENOTDIR, "link/file": unix.ENOTDIR, "real/file": unix.ELOOP, "missing/x": unix.ENOENT,
	} {
		for call, open := range map[string]func(string, int, fs.FileMode) (int, error){"open": m.open,
			"older": old.open} {
			fd, err := open(name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
			if err == nil {
				must(t, unix.Close(fd))
			}
			if !errors.Is(err, want) {
				t.Errorf("%s %s: got %v, want %v", call, name, err, want)
			}
		}
	}
}

// TestMount_leavesNoDescriptor: all calls close every descriptor, whether they
// succeed or fail.
func TestMount_leavesNoDescriptor(t *testing.T) {
	v, _, _ := planted(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	before := count()
	old := olderKernel(v.Calls.(*mount))
	for _, name := range []string{"real/deep/key", "inner/deep/key", "link/file", "missing/x", "real", "real/file"} {
		_, _ = v.ReadFile(name)
		_, _ = v.Lstat(name)
		_, _ = list(v, name)
		_ = v.SyncDir(name)
		if fd, err := old.open(name, unix.O_RDONLY|unix.O_NOFOLLOW, 0); err == nil {
			must(t, unix.Close(fd))
		}
	}
	if after := count(); after != before {
		t.Errorf("got %d open descriptors, want %d", after, before)
	}
}

// TestCreate_exactMode: neither the umask nor its absence changes a mode.
func TestCreate_exactMode(t *testing.T) {
	for _, umask := range []int{0, 0o077, 0o777} {
		defer syscall.Umask(syscall.Umask(umask))
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o777|fs.ModeSetgid))
		v := opened(t, dir)
		f, err := v.Create("file", 0o640)
		must(t, err)
		must(t, f.Close())
		must(t, v.Mkdir("dir", 0o750))
		for name, want := range map[string]fs.FileMode{"file": 0o640, "dir": fs.ModeDir | fs.ModeSetgid | 0o750} {
			if info, err := v.Lstat(name); err != nil || info.Mode != want {
				t.Errorf("umask %o: %s: got %v %v, want %v", umask, name, info.Mode, err, want)
			}
		}
	}
}

// TestChmod_followsNoLink: the file need not be readable, and no link is followed.
func TestChmod_followsNoLink(t *testing.T) {
	for _, older := range []bool{false, true} {
		t.Run(fmt.Sprint("older kernel ", older), func(t *testing.T) { testChmod(t, older) })
	}
}

func testChmod(t *testing.T, older bool) {
	dir := t.TempDir()
	v := opened(t, dir)
	if older {
		v.Calls = olderKernel(v.Calls.(*mount))
	}
	mode := func(name string) fs.FileMode {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		return info.Mode().Perm()
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o000))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o500))
	must(t, os.WriteFile(filepath.Join(dir, "foreign"), nil, 0o644))
	must(t, os.Symlink("foreign", filepath.Join(dir, "link")))
	must(t, v.Chmod(0o440, "file"))
	must(t, v.Chmod(0o750, "dir"))
	_ = v.Chmod(0o600, "link")
	if mode("file") != 0o440 || mode("dir") != 0o750 {
		t.Errorf("got %o and %o, want 440 and 750", mode("file"), mode("dir"))
	}
	if got := mode("foreign"); got != 0o644 {
		t.Errorf("the target of a link: got %o, want 644", got)
	}
}

// TestReadFile_regularFilesOnly: anything else is an error, not an empty file, and a
// FIFO does not block.
func TestReadFile_regularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	v := opened(t, dir)
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "large"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(dir, "large"), MaxFile+1))
	must(t, os.WriteFile(filepath.Join(dir, "largest"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(dir, "largest"), MaxFile))
	for _, name := range []string{"fifo", "dir", "large"} {
		if _, err := v.ReadFile(name); !errors.Is(err, errNotReadable) {
			t.Errorf("%s: got %v, want %v", name, err, errNotReadable)
		}
	}
	if data, err := v.ReadFile("largest"); err != nil || len(data) != MaxFile {
		t.Errorf("largest: got %d bytes, %v", len(data), err)
	}
}

// TestChmodAndRemove_continueAfterAnError: an entry or a directory that another process removed
// or filled does not protect the entries after it.
func TestChmodAndRemove_continueAfterAnError(t *testing.T) {
	v, dir, _ := planted(t)
	if err := v.Remove("inner/deep/key", "real/deep/key", "real/deep"); err == nil || !v.IsGone("real/deep") {
		t.Errorf("Remove in several directories: got %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o644))
	if err := v.Chmod(0o600, "missing", "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Chmod of a missing file: got %v", err)
	}
	if info, err := v.Lstat("a"); err != nil || info.Mode != 0o600 {
		t.Errorf("a: got %v, %v, want mode 600", info.Mode, err)
	}
	if err := v.Remove("missing", "real", "a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Remove of a full directory: got %v", err)
	}
	if !v.IsGone("a") || v.IsGone("real") {
		t.Error("want only a removed")
	}
	must(t, v.Remove("none/x"))
}

// TestReadDir_wide: listing a directory needs little memory, whatever its size.
func TestReadDir_wide(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	v := opened(t, dir)
	for i := range 100_000 {
		must(t, unix.Mknod(filepath.Join(dir, strconv.Itoa(i)), unix.S_IFREG|0o600, 0))
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, n := heap(), uint64(0), 0
	for _, err := range v.ReadDir(".") {
		must(t, err)
		if n++; n%10_000 == 1 {
			most = max(most, heap())
		}
	}
	if n < 100_000 || most > before+2<<20 {
		t.Errorf("listed %d entries with %d KiB, want 100,000 with at most 2 MiB", n, (most-before)>>10)
	}
}
