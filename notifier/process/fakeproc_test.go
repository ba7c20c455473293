package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// A fakeProc is a /proc directory in which a test can replace processes.
type fakeProc struct {
	t    *testing.T
	root string
	sent []int // PIDs that were signaled
}

func newFakeProc(t *testing.T) *fakeProc { return &fakeProc{t: t, root: t.TempDir()} }

// setProcess creates a process, or replaces the process with its PID.
func (f *fakeProc) setProcess(p process) {
	f.t.Helper()
	dir := filepath.Join(f.root, strconv.Itoa(p.pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	argv, state := p.argv, "S"
	if argv == nil {
		argv = []string{p.comm}
	}
	if p.inert {
		state = "Z"
	}
	for name, text := range map[string]string{
		"stat": fmt.Sprintf("%d (%s) %s %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 %d 0 0 0 0 0 %d 0",
			p.pid, p.comm, state, p.ppid, p.start*hertz/time.Second, p.stack),
		"status": fmt.Sprintf("Name:\t%s\nTgid:\t%d\nUid:\t%[3]d\t%[3]d\t%[3]d\t%[3]d\n"+
			"SigPnd:\t%016[4]x\nShdPnd:\t%016[5]x\n"+
			"SigIgn:\t%016[6]x\nSigCgt:\t%016[7]x\n", p.comm, p.pid, p.uid, 0, p.pending, p.ignored, p.caught),
		"cmdline": strings.Join(argv, "\x00") + "\x00",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fakeProc) remove(pid int) { os.RemoveAll(filepath.Join(f.root, strconv.Itoa(pid))) }

// fake makes a target use this /proc. It calls atOpen when it opens a process.
func (f *fakeProc) fake(s *Target, atOpen func()) {
	s.self, s.started = sidecar, 0
	s.proc = procfs{root: f.root, uptime: func() time.Duration { return time.Hour }}
	var opened int
	s.open = func(pid int) (*os.Process, error) {
		atOpen()
		opened = pid
		return os.FindProcess(os.Getpid())
	}
	s.signal = func(*os.Process, os.Signal) error { f.sent = append(f.sent, opened); return nil }
}

func (f *fakeProc) byName(name string, opts Options, atOpen func()) *Target {
	p := newByName(name, opts)
	f.fake(p, atOpen)
	return p
}

// TestNotify_reusedPID: between the choice and the pidfd, the PID is given to another process, which
// differs in a single property. It is never signaled.
func TestNotify_reusedPID(t *testing.T) {
	app := process{pid: 7, comm: "app", start: time.Minute, uid: 1000, caught: 1, stack: 1}
	change := func(f func(*process)) process { p := app; f(&p); return p }
	for name, other := range map[string]process{
		"start time": change(func(p *process) { p.start += time.Second / hertz }),
		"name":       change(func(p *process) { p.comm = "db" }),
		"user":       change(func(p *process) { p.uid = 0 }),
		"end":        change(func(p *process) { p.inert = true }), // a zombie accepts every signal
		"handler":    change(func(p *process) { p.caught = 0 }),   // an exec
		"stack":      change(func(p *process) { p.stack = 2 }),    // an exec of the same program
	} {
		t.Run(name, func(t *testing.T) {
			proc := newFakeProc(t)
			proc.setProcess(app)
			p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() { proc.setProcess(other) })
			if err := p.Notify(t.Context(), notifier.Changes{}); err == nil || len(proc.sent) > 0 {
				t.Errorf("signaled %v, error %v", proc.sent, err)
			}
		})
	}
	proc := newFakeProc(t)
	proc.setProcess(app)
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	if err := p.Notify(t.Context(), notifier.Changes{}); err != nil || len(proc.sent) != 1 || proc.sent[0] != 7 {
		t.Errorf("unchanged: signaled %v, error %v", proc.sent, err)
	}
}

// TestCheck_noMasks: a /proc/PID/status without signal masks (gVisor) proves neither the
// presence nor the absence of a handler.
func TestCheck_noMasks(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "app"})
	write(t, proc.root+"/7/status", "Name:\tapp\nTgid:\t7\n")
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), "cannot determine",
		"SECRETSYNC_SIGNAL_CHECK=false")
	p.opts.Check = false
	if err := p.Notify(t.Context(), notifier.Changes{}); err != nil || len(proc.sent) != 1 {
		t.Errorf("signaled %v, error %v", proc.sent, err)
	}
}

// TestNotify_endedMeanwhile: the process ends between the choice and the signal.
func TestNotify_endedMeanwhile(t *testing.T) {
	app := process{pid: 7, comm: "app", caught: 1}
	proc := newFakeProc(t)
	proc.setProcess(app)
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() { proc.remove(7) })
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), "7 (app) ended or was replaced")
	proc.setProcess(app)
	p.signal = (*os.Process).Signal
	p.open = func(int) (*os.Process, error) { return os.FindProcess(nobody) } // pidfd_open: ESRCH
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), "7 (app) ended before SIGHUP")
	p.signal = func(*os.Process, os.Signal) error { return os.ErrProcessDone } // another process has the PID
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), "7 (app) ended before SIGHUP")
	if len(proc.sent) > 0 {
		t.Errorf("signaled %v", proc.sent)
	}
}

// TestPIDFile_replacedMeanwhile: the PID file is replaced between the choice and the signal.
func TestPIDFile_replacedMeanwhile(t *testing.T) {
	proc, path := newFakeProc(t), t.TempDir()+"/pid"
	for _, pid := range []int{7, 8} {
		proc.setProcess(process{pid: pid, comm: "app", caught: 1})
	}
	write(t, path, "7")
	p := byFile(path)
	proc.fake(p, func() { write(t, path, "8\n") })
	if err := p.Notify(t.Context(), notifier.Changes{}); err == nil || len(proc.sent) > 0 {
		t.Fatalf("signaled %v, error %v", proc.sent, err)
	}
	if err := p.Notify(t.Context(), notifier.Changes{}); err != nil || len(proc.sent) != 1 || proc.sent[0] != 8 {
		t.Errorf("signaled %v, error %v", proc.sent, err)
	}
}

// TestPIDFile_ofAZombie: the file names a process that has ended and is not reaped yet.
func TestPIDFile_ofAZombie(t *testing.T) {
	proc, path := newFakeProc(t), t.TempDir()+"/pid"
	proc.setProcess(process{pid: 7, comm: "app", caught: 1, inert: true})
	write(t, path, "7")
	p := byFile(path)
	proc.fake(p, func() {})
	err := p.Notify(t.Context(), notifier.Changes{})
	testsupport.WantError(t, err, "process 7 does not exist, has ended or is a thread", path)
	if got := notifier.AsFailure(err).RetryWithin; got != pidFileRetry || len(proc.sent) > 0 {
		t.Errorf("retried within %v, want %v; signaled %v", got, pidFileRetry, proc.sent)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
