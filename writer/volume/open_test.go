package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

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
	if err := Read(dir, func(v Volume) error { return second(list(v, ".")) }); err != nil {
		t.Errorf("without the lock: %v", err)
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
		if err != nil || info.Mode() != 0o222 {
			t.Errorf("%s: the lock file is %v, %v, want mode 0222", place, info, err)
		}
		if _, err := Open(t.Context(), dir); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: a second writer: got %v", place, err)
		}
		must(t, v.Close())
		must(t, reader.Close())
		opened(t, dir)
	}
}

// TestOpen_anotherUID: writers with different UIDs, such as a root init container and its
// sidecar, lock the same file, and a lock on the directory prevents neither.
func TestOpen_anotherUID(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, mode := range []os.FileMode{0o777, 0o777 | os.ModeSticky} {
		dir := testsupport.MemoryDir(t)
		must(t, os.Chmod(dir, mode))
		v, err := Open(t.Context(), dir)
		must(t, err)
		must(t, v.Close())
		reader, err := os.Open(dir)
		must(t, err)
		must(t, syscall.Flock(int(reader.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
		asUser(func() { v, err = Open(t.Context(), dir) })
		must(t, err)
		if _, err := Open(t.Context(), dir); !errors.Is(err, ErrUnusable) {
			t.Errorf("%v: a second writer: got %v, want ErrUnusable", mode, err)
		}
		must(t, v.Close())
		must(t, os.Chmod(filepath.Join(dir, generation.LockFile), 0o200))
		asUser(func() { v, err = Open(t.Context(), dir) })
		if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "delete this file") {
			t.Errorf("%v: a closed lock file: got %v, want the remedy", mode, err)
		}
		must(t, reader.Close())
	}
}

// TestOpen_lockFileOfAnApp: the sidecar does not lock an entry that an app can open for reading, and so lock. If the
// sidecar cannot replace the entry, it names the remedy.
func TestOpen_lockFileOfAnApp(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for name, plant := range map[string]func(p string) error{
		"a readable file":      func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"a FIFO with a reader": func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		for _, mode := range []os.FileMode{0o777, 0o777 | os.ModeSticky} {
			dir := testsupport.MemoryDir(t)
			must(t, os.Chmod(dir, mode))
			lock := filepath.Join(dir, generation.LockFile)
			must(t, plant(lock))
			must(t, os.Chmod(lock, 0o666))
			app, err := os.OpenFile(lock, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			must(t, err)
			must(t, syscall.Flock(int(app.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
			if strings.Contains(name, "FIFO") {
				must(t, os.Chmod(lock, lockMode))
			}
			asUser(func() { _, err = Open(t.Context(), dir) })
			if mode&os.ModeSticky != 0 {
				if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "delete this file") {
					t.Errorf("%s of another UID: got %v, want the remedy", name, err)
				}
				opened(t, dir) // root can replace it
			} else if err != nil {
				t.Errorf("%s: got %v, want no error", name, err)
			}
			if info, err := os.Lstat(lock); err != nil || info.Mode() != lockMode {
				t.Errorf("%s: the lock file is %v, %v, want mode 0222", name, info, err)
			}
			must(t, app.Close())
		}
	}
}

// asUser calls f in a thread with the file access of another UID.
func asUser(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with the goroutine
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		f()
	}()
	<-done
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

// TestOpen_lease: an app that keeps a lease on a record delays a start for a limited time. The end of the context ends
// the wait.
func TestOpen_lease(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	name := filepath.Join(dir, generation.NotifiedFile)
	must(t, os.WriteFile(name, nil, 0o600))
	held, err := os.Open(name)
	must(t, err)
	defer func() { _ = held.Close() }()
	if _, err := unix.FcntlInt(held.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("the file system has no leases: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		v, err := Open(t.Context(), dir)
		must(t, err)
		must(t, v.Close())
		if waited := time.Since(began).Round(time.Second); waited != leasePatience {
			t.Errorf("waited %v, want %v", waited, leasePatience)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Open(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if waited := time.Since(began).Round(time.Second); waited != leasePatience+time.Second {
			t.Errorf("waited %v after the end of the context", waited-leasePatience)
		}
	})
}
