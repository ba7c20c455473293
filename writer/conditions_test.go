package writer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// inNamespace runs a role in a child with its own user and mount namespace. The
// child may mount anything, even if the test runs without privileges.
func inNamespace(t *testing.T, role string) {
	t.Helper()
	cmd := child(role, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func seenBy(dir string) map[string]string {
	out := map[string]string{}
	see(dir, "", out)
	return out
}

// expect gives an error unless apps see exactly set.
func expect(dir string, set Content) error {
	if got := seenBy(dir); !maps.Equal(got, shown(generation.Nested, set)) {
		return fmt.Errorf("apps see %d files, want %d as published", len(got), len(shown(generation.Nested, set)))
	}
	return nil
}

func large(n, size int) Content {
	return one("db", files(itoa(n), "k", strings.Repeat(itoa(n%10), size)))
}

// TestPublish_fullVolume: if the volume is full, the last good generation stays. The error names the free space, but
// not the required space. Nothing is left behind, and the next publish succeeds once there is room. Old generations in
// their grace period make room first.
func TestPublish_fullVolume(t *testing.T)      { inNamespace(t, "full") }
func TestPublish_outOfInodes(t *testing.T)     { inNamespace(t, "inodes") }
func TestPublish_readOnlyRemount(t *testing.T) { inNamespace(t, "readonly") }

func fullChild(args []string) error {
	dir := args[0]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return err
	}
	w, err := start(childOptions(dir))
	if err != nil {
		return err
	}
	for n := range 8 { // each takes more than a third: the grace yields
		if _, err := w.Publish(context.Background(), large(n, 400<<10)); err != nil {
			return fmt.Errorf("publish %d while old ones can go: %w", n, err)
		}
		if err := expect(dir, large(n, 400<<10)); err != nil {
			return err
		}
	}
	return refused(w, dir, large(7, 400<<10), large(8, 800<<10), syscall.ENOSPC, "no_space", func() error {
		_, err := w.Publish(context.Background(), large(9, 100))
		return err
	}, large(9, 100))
}

// refused publishes next, which must fail and change nothing, and again after
// restore, when it goes through.
func refused(w *Writer, dir string, good, next Content, want error, reason string, restore func() error,
	then Content) error {
	before := names(dir)
	_, err := w.Publish(context.Background(), next)
	if !errors.Is(err, want) || Reason(err) != reason {
		return fmt.Errorf("got %v, want %v", err, want)
	}
	text := strings.ReplaceAll(err.Error(), dir, "") // the directory has a random name
	if reason == "no_space" && (!strings.Contains(text, "KiB and") || strings.Contains(text, "800")) {
		return fmt.Errorf("the error: %w", err)
	}
	if err := expect(dir, good); err != nil {
		return err
	}
	for name := range names(dir) {
		if !before[name] {
			return fmt.Errorf("%s is left behind", name)
		}
	}
	if err := restore(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if _, err := w.Publish(context.Background(), then); err != nil {
		return fmt.Errorf("again: %w", err)
	}
	return expect(dir, then)
}

func names(dir string) map[string]bool {
	out := map[string]bool{}
	must(filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error { out[p] = true; return err }))
	return out
}

func inodesChild(args []string) error {
	dir := args[0]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,nr_inodes=40"); err != nil {
		return err
	}
	w, err := start(childOptions(dir))
	if err != nil {
		return err
	}
	if _, err := w.Publish(context.Background(), mixed); err != nil {
		return err
	}
	many := files("9")
	for i := range 40 {
		many.Values[itoa(i)] = []byte("x")
	}
	return refused(w, dir, mixed, one("db", many), syscall.ENOSPC, "no_space", func() error {
		return unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4m,nr_inodes=4000")
	}, one("db", many))
}

func readOnlyChild(args []string) error {
	dir := args[0]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		return err
	}
	opts, seam := withSeam(childOptions(dir))
	w, err := start(opts)
	if err != nil {
		return err
	}
	if _, err := w.Publish(context.Background(), mixed); err != nil {
		return err
	}
	// The kernel refuses to remount a volume with a file that is open for writing, such
	// as the lock. A disk with errors becomes read-only nevertheless.
	seam.reset(func(int, call, func() error) error { return syscall.EROFS })
	if err := w.SetTargetRecord("x", notifiedRecord(1)); !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("SetTargetRecord: %v", err)
	}
	if err := refused(w, dir, mixed, changes, syscall.EROFS, "read_only", func() error {
		seam.reset(nil)
		return nil
	}, changes); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if _, err := start(childOptions(dir)); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "readOnly") {
		return fmt.Errorf("open: %v", err)
	}
	return nil
}

// TestPublish_failedSync: a sync fails with EIO. Before the swap nothing changes. After it the new generation exists
// and the old generation is kept until a sync succeeds.
func TestPublish_failedSync(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts, seam := withSeam(testOptions(t, dir))
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, mixed)
	swapped := false
	seam.reset(func(_ int, call call, do func() error) error {
		swapped = swapped || call.op == "Rename" && call.to == generation.DataLink
		if strings.Contains(call.op, "Sync") && swapped {
			return syscall.EIO
		}
		return do()
	})
	publish(t, w, changes)
	c.Add(grace * 2)
	before := c.Now()
	runDue(w)
	if got := len(w.old); got != 1 {
		t.Errorf("while the swap is not on disk: got %d old generations, want 1", got)
	}
	if wait := w.due().Sub(before); wait < retryAfter {
		t.Errorf("the next try: got %v, want %v", wait, retryAfter)
	}
	seam.reset(func(_ int, call call, do func() error) error {
		if call.op == "file.Sync" {
			return syscall.EIO
		}
		return do()
	})
	if _, err := w.Publish(context.Background(), mixed); Reason(err) != "io" {
		t.Errorf("got %v, want an I/O error", err)
	}
	equal(t, "visible", visible(t, dir), shown(generation.Nested, changes))
	seam.reset(nil)
	runDue(w)
	if got := len(w.old); got != 0 {
		t.Errorf("after a sync: got %d old generations, want 0", got)
	}
	publish(t, w, mixed)
}

// TestLog_containsNoValue: errors and the log contain nothing secret, at any level: no value, and no length of a value.
func TestLog_containsNoValue(t *testing.T) {
	const canary = "hunter2-canary"
	r := newRunningWriter(t, generation.Nested, time.Hour, newEvents, nil)
	set := one("db", files("1", "password", canary, "long", strings.Repeat(canary, 12345)))
	publish(t, r.Writer, set)
	put(current(r.dir), "db/password", canary+"evil")
	atOnce(t, "repaired", r.intact)
	_, err := r.Publish(context.Background(), one("db", files("1", "password", canary, "..x", canary)))
	_, _ = fmt.Fprintln(&r.log, err, set, set.Secrets)
	for _, leak := range []string{canary, fmt.Sprint(12345 * len(canary))} {
		if n := r.log.Count(leak); n > 0 {
			t.Errorf("%q is in the log %d times", leak, n)
		}
	}
}

// TestMakeRoom_unsyncedSwap: a full volume takes no old generation away while the swap is not on
// disk.
func TestMakeRoom_unsyncedSwap(t *testing.T) {
	opts, seam := withSeam(testOptions(t, testsupport.MemoryDir(t)))
	w := opened(t, opts)
	publish(t, w, mixed)
	swapped := false
	seam.reset(func(_ int, call call, do func() error) error {
		switch {
		case swapped && call.op == "SyncDir":
			return syscall.EIO
		case swapped && call.op == "Create":
			return syscall.ENOSPC
		}
		swapped = swapped || call.op == "Rename" && call.to == generation.DataLink
		return do()
	})
	publish(t, w, changes)
	if _, err := w.Publish(context.Background(), mixed); Reason(err) != "no_space" {
		t.Errorf("got %v, want no space", err)
	}
	if got := len(w.old); got != 1 {
		t.Errorf("got %d old generations, want 1", got)
	}
}

// TestForeignEntry_stays: foreign entries from before a start stay, and a single warning names
// them.
func TestForeignEntry_stays(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	shut(t, w)
	must(os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o600))
	var log bytes.Buffer
	opts := testOptions(t, dir)
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w = opened(t, opts)
	reconcileAll(w)
	if got := strings.Count(log.String(), "path=theirs"); got != 1 {
		t.Errorf("got %d warnings, want 1:\n%s", got, &log)
	}
	if _, err := os.Lstat(filepath.Join(dir, "theirs")); err != nil {
		t.Error(err)
	}
}

// TestForeignEntry_hidesNoWarning: warnings about any number of foreign entries leave room for other warnings.
func TestForeignEntry_hidesNoWarning(t *testing.T) {
	var log testsupport.Log
	opts := testOptions(t, testsupport.MemoryDir(t))
	opts.Logger = log.Logger(slog.LevelWarn)
	w := opened(t, opts)
	for i := range 2 * maxWarned {
		put(opts.Dir, fmt.Sprint("foreign", i), "")
	}
	publish(t, w, mixed)
	reconcileAll(w)
	if n := log.Count(foreignEntry); n != maxWarned {
		t.Errorf("got %d warnings about foreign entries, want %d", n, maxWarned)
	}
	w.locked(func() { w.retryLater("could not sync", ".", syscall.EIO) })
	if log.Count("could not sync") == 0 {
		t.Error("the warning about a failure is missing")
	}
}
