package writer

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// watchOnce watches the present entry at a path, as a program does if it adds its
// watch again after each event.
type watchOnce struct {
	fd   int
	path string
}

func newWatch(t *testing.T, path string) *watchOnce {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	w := &watchOnce{fd, path}
	w.add()
	return w
}

func (w *watchOnce) add() {
	_, err := unix.InotifyAddWatch(w.fd, w.path,
		unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MODIFY|unix.IN_ATTRIB|unix.IN_DELETE_SELF)
	must(err)
}

// woken waits for an event, and takes all there are.
func (w *watchOnce) woken(within time.Duration) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(within.Milliseconds()))
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(within.Milliseconds()))
	}
	var buf [64 << 10]byte
	for {
		if n, err := unix.Read(w.fd, buf[:]); n <= 0 || err != nil {
			break
		}
	}
	return n > 0
}

// TestWatchers_everyRotation: a watch on DIR, on DIR/SECRET and on the inode of a file (set once a
// rotation, through the path) each see an event in each of 20 rotations. A watch on the directory
// of an unchanged Secret sleeps.
func TestWatchers_everyRotation(t *testing.T) {
	for _, layout := range layouts {
		dir := testsupport.MemoryDir(t)
		opts := quiet(testOptions(t, dir))
		opts.Layout = layout
		w := opened(t, opts)
		set := func(n int) Content {
			return two("db", files(itoa(n), "password", fmt.Sprint(n), "user", "always the same"), "tls",
				files("1", "crt", "x"))
		}
		publish(t, w, set(0))
		paths := []string{".", layout.Path("db", "password"), layout.Path("db", "user"), layout.Path("tls", "crt")}
		if layout == generation.Nested {
			paths = append(paths, "db")
		}
		watches := map[string]*watchOnce{}
		for _, p := range paths {
			watches[p] = newWatch(t, filepath.Join(dir, p))
		}
		var sleeping *watchOnce
		if layout == generation.Nested {
			sleeping = newWatch(t, filepath.Join(dir, "tls"))
		}
		for n := 1; n <= 20; n++ {
			publish(t, w, set(n))
			for p, watch := range watches {
				if !watch.woken(time.Second) {
					t.Fatalf("rotation %d, %v: a watch on %s saw nothing", n, layout, p)
				}
				watch.add()
				watch.woken(0)
			}
		}
		if sleeping != nil && sleeping.woken(0) {
			t.Error("a watch on the directory of a Secret that did not change was woken")
		}
	}
}

// TestWatchers_wakeOnARepair: a repair replaces all files: a watch on the directory of a Secret wakes, though the
// Secret did not change.
func TestWatchers_wakeOnARepair(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	publish(t, w, mixed)
	publish(t, w, changes) // tls is as in the generation before
	watch := newWatch(t, filepath.Join(dir, "tls"))
	put(current(dir), "tls/tls.crt", "evil")
	reconcileAll(w)
	if !watch.woken(time.Second) {
		t.Error("a watch on the directory of a Secret saw nothing")
	}
}
