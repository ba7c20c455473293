package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// exhaust makes every open in this process fail with EMFILE until restore.
func exhaust(t *testing.T) (restore func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnknown_survived: while /proc cannot be read, a process neither ended nor survived.
func TestUnknown_survived(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": 0, "late": survivalTime + 1} {
		t.Run(name, func(t *testing.T) {
			proc := newFakeProc(t)
			proc.setProcess(process{pid: 7, comm: "app", caught: 1})
			p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}, func() {})
			if err := p.Notify(t.Context(), noChanges); err != nil {
				t.Fatal(err)
			}
			p.proc.uptime = func() time.Duration { return time.Hour + after }
			restore := exhaust(t)
			decided, err := p.Survived()
			restore()
			if decided || err != nil {
				t.Errorf("decided = %v, %v, want undecided", decided, err)
			}
			proc.remove(7)
			if decided, err := p.Survived(); !decided || err == nil {
				t.Errorf("decided = %v, %v, want an end", decided, err)
			}
		})
	}
}

// TestUnknown_pending: while /proc cannot be read, a sent signal counts as pending. It is not sent again.
func TestUnknown_pending(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "app", caught: 1})
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	var restore func()
	p.signal = func(*os.Process, os.Signal) error { restore = exhaust(t); return nil }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.Notify(ctx, notifier.Changes{Generation: 2})
	restore()
	testsupport.WantError(t, err, "too many open files")
	if got := p.Recipient(); got != "" {
		t.Errorf("recipient = %q, want none", got)
	}
	p.signal = func(*os.Process, os.Signal) error { return errors.New("signaled again") }
	if err := p.Notify(t.Context(), notifier.Changes{Generation: 2}); err != nil {
		t.Error(err)
	}
}

// TestUnknown_notify: while /proc cannot be read, nothing is signaled. The error names the cause. An observed exec is
// not forgotten.
func TestUnknown_notify(t *testing.T) {
	proc := newFakeProc(t)
	path := t.TempDir() + "/pid"
	write(t, path, "7")
	file := byFile(path)
	proc.fake(file, func() {})
	name := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	for _, p := range []*Target{name, file} {
		for stack := range uint64(2) {
			proc.setProcess(process{pid: 7, comm: "app", caught: 1, stack: 1 + stack})
			p.find()
		}
		execed := p.observed[7].execed
		restore := exhaust(t)
		err := p.Notify(t.Context(), noChanges)
		restore()
		testsupport.WantError(t, err, "too many open files")
		p.proc.unknown = nil
		if _, err := p.find(); err != nil || execed == 0 || p.observed[7].execed != execed || len(proc.sent) > 0 {
			t.Errorf("%v, exec at %v, want %v; signaled %v", err, p.observed[7].execed, execed, proc.sent)
		}
	}
}

// TestUnknown_steps: an error in any step prevents the signal. Without the cgroup, the process may belong to another
// Pod, without the environment it may be an old program with a successor, and without the executable, the signal may
// be fatal.
func TestUnknown_steps(t *testing.T) {
	fs := procfs{root: "/proc"}
	for name, step := range map[string]func(){
		"all":      func() { fs.all() },
		"again":    func() { fs.again(process{pid: os.Getpid()}) },
		"cgroup":   func() { fs.inPod(os.Getpid()) },
		"language": func() { fs.language(process{pid: os.Getpid()}) },
		"environ":  func() { fs.file(os.Getpid(), "environ") },
	} {
		fs.unknown = nil
		restore := exhaust(t)
		step()
		restore()
		if fs.unknown == nil {
			t.Errorf("%s: the error is lost", name)
		}
	}
	if _, err := fs.all(); err == nil {
		t.Error("all omits a process that could not be read")
	}
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "app", caught: 1})
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	p.proc.uptime = func() time.Duration { p.proc.examine(fmt.Errorf("read: %w", unix.ENOMEM)); return time.Hour }
	testsupport.WantError(t, p.Notify(t.Context(), noChanges), "cannot allocate memory")
	if len(proc.sent) > 0 {
		t.Errorf("signaled %v", proc.sent)
	}
}
