package process

import (
	"cmp"
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

var noChanges notifier.Changes

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// TestDeliver_pendingSignal: a stopped process does not receive its signal, so it is not notified.
// When it continues, it receives a single signal.
func TestDeliver_pendingSignal(t *testing.T) {
	name := unique()
	h := startHelper(t, name, "handle")
	p := newByName(name, Options{Signal: unix.SIGUSR1, Check: true})
	if err := unix.Kill(h.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(h.pid, unix.SIGCONT)
	for range 2 {
		err := p.Notify(t.Context(), notifier.Changes{Generation: 2})
		testsupport.WantError(t, err, "SIGUSR1 is pending", name, "stopped or blocks")
		if f := notifier.AsFailure(err); f.RetryWithin <= 0 {
			t.Errorf("failure = %+v, want a short delay", f)
		}
	}
	if got := p.Recipient(); got != "" {
		t.Errorf("recipient = %q, want none", got)
	}
	unix.Kill(h.pid, unix.SIGCONT)
	if err := p.Notify(t.Context(), notifier.Changes{Generation: 2}); err != nil {
		t.Fatal(err)
	}
	if got, want := p.Recipient(), fmt.Sprintf("%d (%s)", h.pid, name); got != want {
		t.Errorf("recipient = %q, want %q", got, want)
	}
	h.expect("got SIGUSR1")
	h.alive() // without a second signal
}

// TestPendingSignal_newerGeneration: if the signal was delivered meanwhile, the process may
// have read the older generation, so it is signaled again.
func TestPendingSignal_newerGeneration(t *testing.T) {
	proc := newFakeProc(t)
	app := process{pid: 7, comm: "app", caught: 1, pending: 1}
	proc.setProcess(app)
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	notify := func(generation uint64) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		return p.Notify(ctx, notifier.Changes{Generation: generation})
	}
	for range 2 {
		if err := notify(2); err == nil {
			t.Fatal("notified while the signal is pending")
		}
	}
	if err := notify(3); err == nil || len(proc.sent) != 1 {
		t.Fatalf("%d signals, error %v, want 1: the process will handle it after generation 3", len(proc.sent), err)
	}
	app.pending = 0
	proc.setProcess(app)
	if err := notify(4); err != nil || len(proc.sent) != 2 {
		t.Errorf("%d signals, error %v, want 2", len(proc.sent), err)
	}
}

// TestPendingSignal_replaced: a process that replaces the signaled process has received nothing.
func TestPendingSignal_replaced(t *testing.T) {
	for name, next := range map[string]process{
		"with its PID":     {pid: 7, comm: "app", caught: 1, start: time.Minute},
		"with another PID": {pid: 8, comm: "app", caught: 1, start: time.Minute},
	} {
		proc := newFakeProc(t)
		proc.setProcess(process{pid: 7, comm: "app", caught: 1, pending: 1})
		p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		err := p.Notify(ctx, notifier.Changes{Generation: 2})
		cancel()
		testsupport.WantError(t, err, "SIGHUP is pending")
		proc.remove(7)
		proc.setProcess(next)
		if err := p.Notify(t.Context(), notifier.Changes{Generation: 2}); err != nil || len(proc.sent) != 2 {
			t.Errorf("%s: signaled %v, error %v, want both", name, proc.sent, err)
		}
	}
}

// TestPendingSignal_late: a process handles its signal at some time after the signal was last seen pending. From this
// time on, it must survive, and another process can be its successor.
func TestPendingSignal_late(t *testing.T) {
	const handled = time.Hour + time.Minute
	for _, test := range []struct {
		name     string
		at       time.Duration
		now      process
		decided  bool
		survived bool
	}{
		{"running", handled + survivalTime, process{pid: 7}, false, false},
		{"survived", handled + survivalTime + 1, process{pid: 7}, true, true},
		{"ended", handled + survivalTime, process{pid: 9}, true, false},
		{"successor", handled + survivalTime, process{pid: 9, start: handled}, true, true},
		{"older", handled + survivalTime, process{pid: 9, start: handled - time.Second}, true, false},
	} {
		proc := newFakeProc(t)
		app := process{pid: 7, ppid: 1, comm: "app", caught: 1, pending: 1}
		proc.setProcess(app)
		p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}, func() {})
		now := time.Hour
		p.proc.uptime = func() time.Duration { return now }
		for _, now = range []time.Duration{time.Hour, handled} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			err := p.Notify(ctx, notifier.Changes{Generation: 2})
			cancel()
			testsupport.WantError(t, err, "SIGHUP is pending")
		}
		app.pending, now = 0, handled+time.Second
		proc.setProcess(app)
		if err := p.Notify(t.Context(), notifier.Changes{Generation: 2}); err != nil {
			t.Fatal(err)
		}
		proc.remove(7)
		test.now.comm, test.now.ppid, now = "app", 1, test.at
		proc.setProcess(test.now)
		if decided, err := p.Survived(); decided != test.decided || decided && (err == nil) != test.survived {
			t.Errorf("%s: decided = %v, %v, want %v, survived %v", test.name, decided, err, test.decided, test.survived)
		}
	}
}

// survives waits for the result of Survived.
func survives(p *Target) error {
	for {
		if decided, err := p.Survived(); decided || err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// TestSurvived_decides: if a process ends shortly after its signal, it was not notified.
func TestSurvived_decides(t *testing.T) {
	for mode, want := range map[string]string{"handle": "", "exit": "ended 0."} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			name := "ss-survives-" + mode
			h := startHelper(t, name, mode)
			p := newByName(name, Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true})
			if err := p.Notify(t.Context(), noChanges); err != nil {
				t.Fatal(err)
			}
			h.expect("got SIGHUP")
			err := survives(p)
			if want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			testsupport.WantError(t, err, want, "s after SIGHUP", fmt.Sprint(h.pid))
		})
	}
}

// TestSurvived_terminatingSignal: TERM is intended to end the process.
func TestSurvived_terminatingSignal(t *testing.T) {
	name := unique()
	startHelper(t, name, "none")
	p := newByName(name, Options{Signal: unix.SIGTERM, Check: true, ExitCheck: true})
	if err := errors.Join(p.Notify(t.Context(), noChanges), survives(p)); err != nil {
		t.Error(err)
	}
}

// TestSurvived_successor: a process of the same name, started after the signal by the process or its parent,
// replaces the process. A worker or a process of a probe does not. With a PID file, the successor may not have written
// the file yet.
func TestSurvived_successor(t *testing.T) {
	path := t.TempDir() + "/pid"
	write(t, path, "7")
	for _, test := range []struct {
		name     string
		replaced bool
		young    process
	}{
		{"orphan", true, process{ppid: 1, start: time.Hour, stack: 2}},
		{"orphan below an init", true, process{ppid: 5, start: time.Hour, stack: 2}},
		{"started by the supervisor", true, process{ppid: 6, start: time.Hour, stack: 2}},
		{"child of a process that is ending", true, process{ppid: 7, start: time.Hour, stack: 2}},
		{"stack unknown", true, process{ppid: 1, start: time.Hour}},
		{"older", false, process{ppid: 1, start: time.Minute, stack: 2}},
		{"worker", false, process{ppid: 1, start: time.Hour, stack: 1}},
		{"probe", false, process{ppid: 0, start: time.Hour, stack: 2}},
		{"below a probe", false, process{ppid: 9, start: time.Hour, stack: 2}},
		{"ended", false, process{ppid: 1, start: time.Hour, stack: 2, inert: true}},
		{"other name", false, process{ppid: 1, start: time.Hour, stack: 2, comm: "cat"}},
	} {
		opts := Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}
		byName, byFile := newByName("app", opts), newTarget(Options{PIDFile: path, Signal: unix.SIGHUP,
			ExitCheck: true})
		for _, p := range []*Target{byName, byFile} {
			proc := newFakeProc(t)
			proc.fake(p, func() {})
			for _, other := range []process{{pid: 5, comm: "tini"}, {pid: 6, ppid: 5, comm: "sv"},
				{pid: 9, comm: "sh"}} {
				proc.setProcess(other)
			}
			proc.setProcess(process{pid: 7, ppid: 6, comm: "app", caught: 1, stack: 1})
			p.proc.uptime = func() time.Duration { return time.Hour + time.Second/hertz - 1 } // start times are rounded
			if err := p.Notify(t.Context(), noChanges); err != nil {
				t.Fatal(err)
			}
			proc.remove(7)
			young := test.young
			young.pid, young.comm = 8, cmp.Or(young.comm, "app")
			proc.setProcess(young)
			if decided, err := p.Survived(); !decided || (err == nil) != test.replaced {
				t.Errorf("%s, PID file %q: error %v, want a successor: %v", test.name, p.opts.PIDFile, err,
					test.replaced)
			}
		}
	}
}

// TestSurvived_undecided: the result is known after survivalTime. A time before the signal means that the node was
// restarted: then nothing counts against the process.
func TestSurvived_undecided(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "app", caught: 1})
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}, func() {})
	if err := p.Notify(t.Context(), noChanges); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{0: false, survivalTime: false, survivalTime + 1: true, -1: true} {
		p.proc.uptime = func() time.Duration { return time.Hour + after }
		if decided, err := p.Survived(); decided != want || err != nil {
			t.Errorf("%v after the signal: decided = %v, %v, want %v", after, decided, err, want)
		}
	}
}

// TestSurvived_unchecked: without ExitCheck, the end of a process is not a failure.
func TestSurvived_unchecked(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "app", caught: 1})
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	if err := p.Notify(t.Context(), noChanges); err != nil {
		t.Fatal(err)
	}
	proc.remove(7)
	if decided, err := p.Survived(); !decided || err != nil {
		t.Errorf("decided = %v, %v, want true without an error", decided, err)
	}
}

// TestSurvived_observesExec: a program that executes itself after its signal is signaled again at its
// minimum age, which begins with the exec.
func TestSurvived_observesExec(t *testing.T) {
	const minAge = 5 * time.Second
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "app", caught: 1, stack: 1})
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true, MinAge: minAge}, func() {})
	now := time.Hour
	p.proc.uptime = func() time.Duration { return now }
	if err := p.Notify(t.Context(), noChanges); err != nil {
		t.Fatal(err)
	}
	proc.setProcess(process{pid: 7, comm: "app", caught: 1, stack: 2})
	now += survivalTime + 1
	if err := survives(p); err != nil {
		t.Fatal(err)
	}
	now += minAge - 1
	if err := p.Notify(t.Context(), noChanges); err == nil || len(proc.sent) != 1 {
		t.Errorf("before the minimum age: %d signals, error %v, want 1", len(proc.sent), err)
	}
	now++
	if err := p.Notify(t.Context(), noChanges); err != nil || len(proc.sent) != 2 {
		t.Errorf("at the minimum age: %d signals, error %v, want 2", len(proc.sent), err)
	}
}
