package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// TestNotify_reachesTheProcess: Notify sends the configured signal.
func TestNotify_reachesTheProcess(t *testing.T) {
	for _, signal := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, 40} {
		name := unique()
		h := startHelper(t, name, "handle")
		p := newByName(name, Options{Signal: signal, Check: true})
		if err := p.Notify(t.Context(), notifier.Changes{}); err != nil {
			t.Fatal(err)
		}
		h.expect("got " + signalName(signal))
	}
}

// TestCheck_unsafeSignals: a process without a handler is not signaled.
func TestCheck_unsafeSignals(t *testing.T) {
	for _, test := range []struct {
		mode   string
		signal syscall.Signal
		want   string
	}{
		{"none", unix.SIGHUP, "has no handler for SIGHUP"},
		{"none", unix.SIGUSR1, "has no handler for SIGUSR1"},
		{"none", unix.SIGWINCH, "has no handler for SIGWINCH"}, // the default action ignores it
		{"ignore", unix.SIGHUP, "ignores SIGHUP"},
	} {
		t.Run(test.mode+signalName(test.signal), func(t *testing.T) {
			name := unique()
			h := startHelper(t, name, test.mode)
			p := newByName(name, Options{Signal: test.signal, Check: true})
			testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), test.want, name)
			h.alive()
		})
	}
}

// TestCheck_signalsThatEnd: without the check, and for signals intended to end a process, only the
// age is checked.
func TestCheck_signalsThatEnd(t *testing.T) {
	for _, opts := range []Options{
		{Signal: unix.SIGTERM, Check: true},
		{Signal: unix.SIGINT, Check: true},
		{Signal: unix.SIGQUIT, Check: true},
		{Signal: unix.SIGKILL, Check: true},
		{Signal: unix.SIGHUP, Check: false},
	} {
		name := unique()
		h := startHelper(t, name, "none")
		young := opts
		young.MinAge = time.Hour
		if err := newByName(name, young).Notify(t.Context(), notifier.Changes{}); err == nil {
			t.Errorf("%v: a young process was signaled", opts.Signal)
		}
		if err := newByName(name, opts).Notify(t.Context(), notifier.Changes{}); err != nil {
			t.Fatal(err)
		}
		for range h.lines { // until the process ends
		}
		if err := h.cmd.Wait(); err == nil {
			t.Errorf("%v: the process exited with 0", opts.Signal)
		}
	}
}

// TestCheck_tooYoungWaitsExactly: the delay ends when the process reaches the minimum age.
func TestCheck_tooYoungWaitsExactly(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle")
	p := newByName(name, Options{Signal: unix.SIGHUP, Check: true, MinAge: time.Minute})
	err := p.Notify(t.Context(), notifier.Changes{})
	var f *notifier.Failure
	if !errors.As(err, &f) || !f.Waiting || f.RetryAfter <= 0 || f.RetryAfter > time.Minute+time.Second {
		t.Fatalf("error = %#v, want a wait of up to a minute", err)
	}
	ahead := f.RetryAfter
	p.proc.uptime = func() time.Duration { return uptime() + ahead } // the process is old enough now
	if err := p.Notify(t.Context(), notifier.Changes{}); err != nil {
		t.Fatal(err)
	}
	h.expect("got SIGHUP")
}

// TestCheck_startInTheFuture: a start time in the future (a restored checkpoint) counts as
// now.
func TestCheck_startInTheFuture(t *testing.T) {
	p := chooser("app")
	var f *notifier.Failure
	if err := p.check(process{pid: 7, start: 3 * time.Hour}); !errors.As(err, &f) ||
		f.RetryAfter > p.opts.MinAge+time.Second {
		t.Errorf("error = %#v, want a wait of at most %v", err, p.opts.MinAge)
	}
}

// TestChoose_parentWithWorkers: the parent is signaled, not its workers.
func TestChoose_parentWithWorkers(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "workers")
	h.expect("worker ready")
	h.expect("worker ready")
	p := newByName(name, Options{Signal: unix.SIGHUP, Check: true})
	if err := p.Notify(t.Context(), notifier.Changes{}); err != nil {
		t.Fatal(err)
	}
	h.expect("got SIGHUP") // not "worker got"
	h.alive()
}

// TestChoose_severalUnrelated: the error lists the unrelated processes, and none is signaled.
func TestChoose_severalUnrelated(t *testing.T) {
	name := unique()
	a, b := startHelper(t, name, "handle"), startHelper(t, name, "handle")
	p := newByName(name, Options{Signal: unix.SIGHUP, Check: true})
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), "2 unrelated", fmt.Sprint("pid ", a.pid),
		fmt.Sprint("pid ", b.pid),
		fmt.Sprint("parent ", os.Getpid()), "age ")
	a.alive()
	b.alive()
}

// TestYoung_besideOld: a young process, such as a probe of the kubelet, does not
// count beside an old process.
func TestYoung_besideOld(t *testing.T) {
	name := unique()
	old := startHelper(t, name, "handle")
	first, err := New(Options{}).proc.read(old.pid)
	if err != nil {
		t.Fatal(err)
	}
	var young *helper
	for { // start times have a resolution of 10 ms
		young = startHelper(t, name, "handle")
		second, err := New(Options{}).proc.read(young.pid)
		if err != nil {
			t.Fatal(err)
		}
		if second.start > first.start {
			break
		}
		young.end()
	}
	p := newByName(name, Options{Signal: unix.SIGHUP, Check: true, MinAge: time.Hour})
	p.proc.uptime = func() time.Duration { return first.start + time.Hour } // only the first is old enough
	if err := p.Notify(t.Context(), notifier.Changes{}); err != nil {
		t.Fatal(err)
	}
	old.expect("got SIGHUP")
	young.alive()
}

// TestChoose_neverItselfNorItsChildren: the sidecar never signals itself or its commands.
func TestChoose_neverItselfNorItsChildren(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle") // a child of this process
	p := newByName(name, Options{Signal: unix.SIGHUP, Check: true})
	p.self = os.Getpid()
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), "no process is named")
	h.alive()

	seen, err := p.proc.all()
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range seen {
		if each.pid == os.Getpid() {
			p.opts.Name = each.comm
			_, err := p.choose(container(each))
			testsupport.WantError(t, err, "no process is named")
		}
	}
}

// TestChoose_zombie: a zombie keeps its name and accepts every signal.
func TestChoose_zombie(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle")
	h.stop.Close()
	for range h.lines { // its output is closed, so it is ending
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, h.pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	p := newByName(name, Options{Signal: unix.SIGHUP, Check: true})
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), "no process is named")
}

// TestChoose_scriptByName: an interpreter is found by the name of its script.
func TestChoose_scriptByName(t *testing.T) {
	name := t.TempDir() + "/" + unique() + ".sh"
	script := "trap 'echo got it' HUP\necho ready\nwhile read -r line || [ $? -gt 128 ]; do :; done\n"
	if err := os.WriteFile(name, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	h := runHelper(t, exec.Command("/bin/sh", name))
	p := newByName(filepath.Base(name), Options{Signal: unix.SIGHUP, Check: true})
	if err := p.Notify(t.Context(), notifier.Changes{}); err != nil {
		t.Fatal(err)
	}
	h.stop.Write([]byte("\n"))
	h.expect("got it")
}

// TestNotify_permission: the error for EPERM names both UIDs and the setting.
func TestNotify_permission(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle")
	p := newByName(name, Options{Signal: unix.SIGHUP, Check: true})
	p.euid = 65532
	attempts := 0
	p.signal = func(*os.Process, os.Signal) error { attempts++; return unix.EPERM }
	testsupport.WantError(t, p.Notify(t.Context(), notifier.Changes{}), fmt.Sprint("runs as UID ", os.Getuid()),
		"container as UID 65532",
		fmt.Sprint("runAsUser: ", os.Getuid()), "SECRETSYNC_WEBHOOK_URL")
	if attempts != 1 {
		t.Errorf("%d attempts, want 1", attempts)
	}
	h.alive()
}
