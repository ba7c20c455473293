package notifier

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSignalReachesTheProcess(t *testing.T) {
	for _, signal := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, 40} {
		name := unique()
		h := startHelper(t, name, "handle")
		p := newProcess(ProcessOptions{Name: name, Signal: signal, Check: true})
		if err := p.Tell(t.Context(), Changes{}); err != nil {
			t.Fatal(err)
		}
		h.expect("got " + signalName(signal))
	}
}

// A process that the signal would kill, or that would lose it, does not get it.
func TestUnsafeSignals(t *testing.T) {
	for _, test := range []struct {
		mode   string
		signal syscall.Signal
		want   string
	}{
		{"none", unix.SIGHUP, "has no handler for SIGHUP"},
		{"none", unix.SIGUSR1, "has no handler for SIGUSR1"},
		{"none", unix.SIGWINCH, "has no handler for SIGWINCH"}, // would be lost, and not told
		{"ignore", unix.SIGHUP, "ignores SIGHUP"},
	} {
		t.Run(test.mode+signalName(test.signal), func(t *testing.T) {
			name := unique()
			h := startHelper(t, name, test.mode)
			p := newProcess(ProcessOptions{Name: name, Signal: test.signal, Check: true})
			wantError(t, p.Tell(t.Context(), Changes{}), test.want, name)
			h.alive()
		})
	}
}

// With the check off, and for the signals that are meant to end a process, only
// the age is looked at.
func TestSignalsThatEnd(t *testing.T) {
	for _, opts := range []ProcessOptions{
		{Signal: unix.SIGTERM, Check: true},
		{Signal: unix.SIGINT, Check: true},
		{Signal: unix.SIGQUIT, Check: true},
		{Signal: unix.SIGKILL, Check: true},
		{Signal: unix.SIGHUP, Check: false},
	} {
		opts.Name = unique()
		h := startHelper(t, opts.Name, "none")
		young := opts
		young.MinAge = time.Hour
		if err := newProcess(young).Tell(t.Context(), Changes{}); err == nil {
			t.Errorf("%v: a young process was signalled", opts.Signal)
		}
		if err := newProcess(opts).Tell(t.Context(), Changes{}); err != nil {
			t.Fatal(err)
		}
		for range h.lines { // until it ends
		}
		if err := h.cmd.Wait(); err == nil {
			t.Errorf("%v: the process ended by itself", opts.Signal)
		}
	}
}

func TestTooYoungWaitsExactly(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle")
	p := newProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true, MinAge: time.Minute})
	err := p.Tell(t.Context(), Changes{})
	var f *failure
	if !errors.As(err, &f) || !f.waiting || f.after <= 0 || f.after > time.Minute+time.Second {
		t.Fatalf("error = %#v, want a wait of up to a minute", err)
	}
	ahead := f.after
	p.proc.uptime = func() time.Duration { return uptime() + ahead } // then it is old enough
	if err := p.Tell(t.Context(), Changes{}); err != nil {
		t.Fatal(err)
	}
	h.expect("got SIGHUP")
}

func TestParentWithWorkers(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "workers")
	h.expect("worker ready")
	h.expect("worker ready")
	p := newProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true})
	if err := p.Tell(t.Context(), Changes{}); err != nil {
		t.Fatal(err)
	}
	h.expect("got SIGHUP") // and not "worker got"
	h.alive()
}

func TestSeveralUnrelated(t *testing.T) {
	name := unique()
	a, b := startHelper(t, name, "handle"), startHelper(t, name, "handle")
	p := newProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true})
	wantError(t, p.Tell(t.Context(), Changes{}), "2 unrelated", fmt.Sprint("pid ", a.pid), fmt.Sprint("pid ", b.pid),
		fmt.Sprint("parent ", os.Getpid()), "age 0s")
	a.alive()
	b.alive()
}

// A second, young one (a kubelet's probe) does not count beside the old one.
func TestYoungDoesNotCountBesideOld(t *testing.T) {
	name := unique()
	old := startHelper(t, name, "handle")
	first, err := procfs{root: "/proc", uptime: uptime}.read(old.pid)
	if err != nil {
		t.Fatal(err)
	}
	var young *helper
	for { // start times have a grain of 10 ms
		young = startHelper(t, name, "handle")
		second, err := procfs{root: "/proc", uptime: uptime}.read(young.pid)
		if err != nil {
			t.Fatal(err)
		}
		if second.start > first.start {
			break
		}
		young.end()
	}
	p := newProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true, MinAge: time.Hour})
	p.proc.uptime = func() time.Duration { return first.start + time.Hour } // one is old enough
	if err := p.Tell(t.Context(), Changes{}); err != nil {
		t.Fatal(err)
	}
	old.expect("got SIGHUP")
	young.alive()
}

func TestNeverItselfNorItsChildren(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle") // a child of this process
	p := NewProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true})
	wantError(t, p.Tell(t.Context(), Changes{}), "no process is named")
	h.alive()

	seen, err := p.proc.all()
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range seen {
		if each.pid == os.Getpid() && p.allowed(family{each.pid: each}, each) {
			t.Error("it may signal itself")
		}
	}
}

// A zombie has a name, and takes every signal without an error.
func TestZombieDoesNotCount(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle")
	h.stop.Close()
	for range h.lines { // its output is closed: it has ended, or does so now
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, h.pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	p := newProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true})
	wantError(t, p.Tell(t.Context(), Changes{}), "no process is named")
}

// The script's name, of an interpreter that is there everywhere.
func TestScriptByName(t *testing.T) {
	name := t.TempDir() + "/" + unique() + ".sh"
	script := "trap 'echo got it' HUP\necho ready\nwhile read -r line || [ $? -gt 128 ]; do :; done\n"
	if err := os.WriteFile(name, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	h := runHelper(t, exec.Command("/bin/sh", name))
	p := newProcess(ProcessOptions{Name: name[strings.LastIndex(name, "/")+1:], Signal: unix.SIGHUP, Check: true})
	if err := p.Tell(t.Context(), Changes{}); err != nil {
		t.Fatal(err)
	}
	h.stop.Write([]byte("\n"))
	h.expect("got it")
}

// Where there is no pidfd the number does, and the log says so once.
func TestWithoutPidfd(t *testing.T) {
	for _, test := range []struct {
		name       string
		open, send error
	}{
		{"no pidfd_open", unix.ENOSYS, nil},
		{"seccomp", unix.EPERM, nil},
		{"no pidfd_send_signal", nil, unix.ENOSYS},
		{"seccomp for the second call", nil, unix.EPERM},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log journal
			name := unique()
			h := startHelper(t, name, "handle")
			p := newProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true, Logger: log.logger(slog.LevelInfo)})
			if test.open != nil {
				p.kernel.open = func(int) (int, error) { return -1, test.open }
			}
			if test.send != nil {
				p.kernel.send = func(int, syscall.Signal) error { return test.send }
			}
			for range 2 {
				if err := p.Tell(t.Context(), Changes{}); err != nil {
					t.Fatal(err)
				}
				h.expect("got SIGHUP")
			}
			if got := log.count("level=WARN"); got != 1 {
				t.Errorf("%d warnings, want 1:\n%s", got, &log)
			}
		})
	}
}

func TestPermissionIsExplained(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle")
	p := newProcess(ProcessOptions{Name: name, Signal: unix.SIGHUP, Check: true})
	p.uids = [2]int{65532, 65532}
	p.kernel.send = func(int, syscall.Signal) error { return unix.EPERM }
	p.kernel.kill = func(int, syscall.Signal) error { t.Error("kill was tried"); return nil }
	wantError(t, p.Tell(t.Context(), Changes{}), fmt.Sprint("runs as UID ", os.Getuid()), "container as UID 65532",
		fmt.Sprint("runAsUser: ", os.Getuid()), "SECRETSYNC_WEBHOOK_URL")
	h.alive()
}
