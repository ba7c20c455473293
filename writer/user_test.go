package writer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// asUser runs a role as a UID other than root, in the group of an fsGroup. Without
// root it runs as the present user.
func asUser(t *testing.T, role, dir string) {
	t.Helper()
	cmd := child(role, dir)
	if os.Getuid() == 0 {
		binary := filepath.Join(t.TempDir(), "writer.test")
		data, err := os.ReadFile(os.Args[0])
		must(err)
		must(os.WriteFile(binary, data, 0o755)) // go test's own directory is closed to others
		for d := filepath.Dir(binary); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			must(os.Chmod(d, 0o755))
		}
		cmd.Path = binary
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 10001, Gid: 10001,
			Groups: []uint32{20002}}}
		cmd.Dir = "/"
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestUser_setgidAndUmask: the Writer runs as another UID than root, under umask 077, in a directory with the setgid
// bit of fsGroup. All new entries belong to its group and inherit the bit, and their modes are exact.
func TestUser_setgidAndUmask(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	must(os.Chmod(dir, 0o777|fs.ModeSetgid))
	group := os.Getgid()
	if os.Getuid() == 0 {
		group = 20002
		must(os.Chown(dir, 0, group))
		must(os.Chmod(dir, 0o775|fs.ModeSetgid))
	}
	asUser(t, "user", dir)
	must(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir || d.Type()&fs.ModeSymlink != 0 || d.Name() == generation.LockFile {
			return err
		}
		info, err := d.Info()
		must(err)
		want := fs.FileMode(0o440)
		if d.IsDir() {
			want = fs.ModeDir | fs.ModeSetgid | 0o750
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; info.Mode() != want || int(gid) != group {
			t.Errorf("%s: got %v of group %d, want %v of %d", p, info.Mode(), gid, want, group)
		}
		return nil
	}))
}

func userChild(args []string) error {
	syscall.Umask(0o077)
	dir := args[0]
	opts := childOptions(dir)
	opts.FileMode = 0o440
	c := newClock()
	opts.now = c.Now
	for _, set := range []Content{mixed, changes, fewer} { // each by its own process
		w, err := start(opts)
		if err != nil {
			return err
		}
		if _, err := w.Publish(context.Background(), set); err != nil {
			return err
		}
		if err := expect(dir, set); err != nil {
			return err
		}
		endGracePeriods(w, c)
		if err := w.Close(); err != nil {
			return err
		}
	}
	for name := range names(dir) {
		if strings.HasSuffix(name, "_tmp") {
			return fmt.Errorf("%s is left", name)
		}
	}
	return plantedChild(opts)
}

// plantedChild: an apparent leftover of a generation contains a directory without
// access for its owner, the Writer. The Writer removes it nevertheless.
func plantedChild(opts setup) error {
	planted := filepath.Join(opts.Dir, generation.NewName(time.Unix(0, 0)))
	closed := filepath.Join(planted, "closed")
	must(os.MkdirAll(closed, 0o755))
	must(os.WriteFile(filepath.Join(closed, "file"), nil, 0o600))
	must(os.Chmod(closed, 0))
	w, err := start(opts)
	if err != nil {
		return err
	}
	runDue(w)
	if _, err := os.Lstat(planted); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: got %w, want that it is gone", planted, err)
	}
	return w.Close()
}

// TestUser_stickyVolumeOfAnotherUID: a root init container has filled a sticky memory volume. Another UID cannot
// replace its files. They stay, and the error names the reason.
func TestUser_stickyVolumeOfAnotherUID(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs two UIDs: run as root")
	}
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	must(os.Chmod(dir, 0o777|fs.ModeSticky))
	before := tree(t, dir)
	asUser(t, "sticky", dir)
	equal(t, "volume", tree(t, dir), before)
}

func stickyChild(args []string) error {
	dir := args[0]
	w, err := start(childOptions(dir))
	if err != nil {
		return err
	}
	if n, err := w.Publish(context.Background(), mixed); err != nil || n != 1 {
		return fmt.Errorf("with nothing to change: %d, %w", n, err)
	}
	for _, set := range []Content{changes, one("db", files("7", "password", "x", "user", "u", "conf/b", "2"))} {
		_, err = w.Publish(context.Background(), set)
		if Reason(err) != "permission" || !strings.Contains(err.Error(), "UID 10001") ||
			!strings.Contains(err.Error(), "sticky") {
			return fmt.Errorf("got %v", err)
		}
		if err := expect(dir, mixed); err != nil {
			return err
		}
	}
	return nil
}
