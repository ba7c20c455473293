package process

import (
	"cmp"
	"context"
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

// TestPendingSignal: a stopped process does not receive its signal, so it is not notified.
// When it continues, it receives a single signal.
func TestPendingSignal(t *testing.T) {
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
		if f := notifier.AsFailure(err); f.RetryWithin <= 0 || !f.Delivering {
			t.Errorf("failure = %+v, want a short delay of a delivery", f)
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
	proc.put(app)
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
	proc.put(app)
	if err := notify(4); err != nil || len(proc.sent) != 2 {
		t.Errorf("%d signals, error %v, want 2", len(proc.sent), err)
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

// TestSurvived: if a process ends shortly after its signal, it was not notified.
func TestSurvived(t *testing.T) {
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
		{"stack unknown", true, process{ppid: 1, start: time.Hour}},
		{"older", false, process{ppid: 1, start: time.Minute, stack: 2}},
		{"worker", false, process{ppid: 1, start: time.Hour, stack: 1}},
		{"probe", false, process{ppid: 0, start: time.Hour, stack: 2}},
		{"below a probe", false, process{ppid: 9, start: time.Hour, stack: 2}},
		{"ended", false, process{ppid: 1, start: time.Hour, stack: 2, inert: true}},
		{"other name", false, process{ppid: 1, start: time.Hour, stack: 2, comm: "cat"}},
	} {
		opts := Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}
		byName, byFile := newByName("app", opts), newTarget(Options{PIDFile: path, Signal: unix.SIGHUP, ExitCheck: true})
		for _, p := range []*Target{byName, byFile} {
			proc := newFakeProc(t)
			proc.fake(p, func() {})
			for _, other := range []process{{pid: 5, comm: "tini"}, {pid: 6, ppid: 5, comm: "sv"}, {pid: 9, comm: "sh"}} {
				proc.put(other)
			}
			proc.put(process{pid: 7, ppid: 6, comm: "app", caught: 1, stack: 1})
			if err := p.Notify(t.Context(), noChanges); err != nil {
				t.Fatal(err)
			}
			proc.remove(7)
			young := test.young
			young.pid, young.comm = 8, cmp.Or(young.comm, "app")
			proc.put(young)
			if decided, err := p.Survived(); !decided || (err == nil) != test.replaced {
				t.Errorf("%s, PID file %q: error %v, want a successor: %v", test.name, p.opts.PIDFile, err, test.replaced)
			}
		}
	}
}

// TestSurvived_undecided: the result is known after survivalTime.
func TestSurvived_undecided(t *testing.T) {
	proc := newFakeProc(t)
	proc.put(process{pid: 7, comm: "app", caught: 1})
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}, func() {})
	if err := p.Notify(t.Context(), noChanges); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{0: false, survivalTime: false, survivalTime + 1: true} {
		p.proc.uptime = func() time.Duration { return time.Hour + after }
		if decided, err := p.Survived(); decided != want || err != nil {
			t.Errorf("%v after the signal: decided = %v, %v, want %v", after, decided, err, want)
		}
	}
}

// TestSurvived_unchecked: without ExitCheck, the end of a process is not a failure.
func TestSurvived_unchecked(t *testing.T) {
	proc := newFakeProc(t)
	proc.put(process{pid: 7, comm: "app", caught: 1})
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
	proc.put(process{pid: 7, comm: "app", caught: 1, stack: 1})
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true, MinAge: minAge}, func() {})
	now := time.Hour
	p.proc.uptime = func() time.Duration { return now }
	if err := p.Notify(t.Context(), noChanges); err != nil {
		t.Fatal(err)
	}
	proc.put(process{pid: 7, comm: "app", caught: 1, stack: 2})
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

// TestRemember: after a restart of the sidecar, a process that has called exec since its last signal is signaled at its
// minimum age, which begins with the restart.
func TestRemember(t *testing.T) {
	const minAge = 5 * time.Second
	for _, test := range []struct {
		name     string
		remember bool
		start    time.Duration
		stack    uint64
		wait     time.Duration
	}{
		{"exec", true, 0, 0x7ffd2000, minAge},
		{"stack not visible any more", true, 0, 0, minAge},
		{"no exec", true, 0, 0x7ffd1000, 0},
		{"another process with this PID", true, time.Minute, 0x7ffd2000, 0},
		{"no earlier sidecar", false, 0, 0x7ffd2000, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			proc := newFakeProc(t)
			proc.put(process{pid: 7, comm: "app", caught: 1, stack: 0x7ffd1000})
			now, opts := time.Hour, Options{Signal: unix.SIGHUP, Check: true, MinAge: minAge}
			target := func() *Target {
				p := proc.byName("app", opts, func() {})
				p.proc.uptime = func() time.Duration { return now }
				return p
			}
			before, after := target(), target()
			after.Remember("") // of a record without a process
			if err := before.Notify(t.Context(), noChanges); err != nil {
				t.Fatal(err)
			}
			proc.put(process{pid: 7, comm: "app", caught: 1, stack: test.stack, start: test.start})
			if test.remember {
				after.Remember(before.State())
			}
			now += test.wait - 1
			if err := after.Notify(t.Context(), noChanges); (err == nil) != (test.wait == 0) {
				t.Errorf("error %v before %v", err, test.wait)
			}
			now++
			if err := after.Notify(t.Context(), noChanges); err != nil {
				t.Errorf("error %v at %v", err, test.wait)
			}
		})
	}
}

// TestRemember_survived: after a restart of the sidecar, the end of the signaled process and its successor are found.
func TestRemember_survived(t *testing.T) {
	for _, test := range []struct {
		name    string
		after   time.Duration
		process process
		decided bool
		err     string
	}{
		{"running", time.Second, process{pid: 7, ppid: 6}, false, ""},
		{"survived", survivalTime + 1, process{pid: 7, ppid: 6}, true, ""},
		{"ended", time.Second, process{pid: 8, ppid: 6}, true, "process 7 (my app) ended 1.0 s after SIGHUP"},
		{"ended meanwhile", time.Minute, process{pid: 8}, true, "process 7 (my app) ended up to 60.0 s after SIGHUP"},
		{"PID reused", time.Second, process{pid: 7, start: time.Hour}, true, "ended"},
		{"successor", time.Second, process{pid: 8, ppid: 6, start: time.Hour}, true, ""},
	} {
		proc := newFakeProc(t)
		proc.put(process{pid: 6, comm: "sv"})
		proc.put(process{pid: 7, ppid: 6, comm: "my app", caught: 1, stack: 1})
		opts := Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}
		before, after := proc.byName("my app", opts, func() {}), proc.byName("my app", opts, func() {})
		if err := before.Notify(t.Context(), noChanges); err != nil {
			t.Fatal(err)
		}
		proc.remove(7)
		test.process.comm = "my app"
		proc.put(test.process)
		after.proc.uptime = func() time.Duration { return time.Hour + test.after }
		after.Remember(before.State())
		decided, err := after.Survived()
		if decided != test.decided || (err == nil) != (test.err == "") {
			t.Errorf("%s: decided = %v, %v, want %v, %q", test.name, decided, err, test.decided, test.err)
		} else if err != nil {
			testsupport.WantError(t, err, test.err)
		}
	}
}

// TestRuntimes_title: a program that replaced its arguments is recognized by its comm.
func TestRuntimes_title(t *testing.T) {
	var warnings []string
	proc := newFakeProc(t)
	proc.put(process{pid: 7, comm: "ruby", argv: []string{"puma 5.6.5 (tcp://0.0.0.0:80) [app]"}, caught: 1})
	p := proc.byName("puma", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	p.opts.Warn = func(message string) { warnings = append(warnings, message) }
	if err := p.Notify(t.Context(), noChanges); err != nil || len(warnings) != 1 {
		t.Errorf("warnings = %q, %v, want one about Ruby", warnings, err)
	}
}

// TestRuntimes_executable: a program that replaced comm and its arguments, and a script that its shebang started, are
// recognized by the executable.
func TestRuntimes_executable(t *testing.T) {
	for _, test := range []struct {
		comm, title, exe string
		signal           syscall.Signal
		want             string // in the error or in the warning
	}{
		{"next-server (v1", "next-server (v14", "/usr/bin/node", unix.SIGUSR1, "in Node.js it opens its debugger"},
		{"next-server (v1", "next-server (v14", "/usr/bin/node (deleted)", unix.SIGUSR1, "in Node.js it opens"},
		{"sidekiq", "sidekiq 7.1 app [0 of 5 busy]", "/usr/bin/ruby3.1", unix.SIGHUP, "Ruby installs a handler"},
		{"puma", "puma 5.6.5 (tcp://0.0.0.0:80) [app]", "/usr/bin/ruby", unix.SIGALRM, "Ruby installs a handler"},
		{"worker", "worker", "/usr/bin/php8.2", unix.SIGUSR1, "PHP installs a handler"},
		{"launcher", "launcher", "/usr/lib/jvm/bin/java", unix.SIGUSR2, "in the JVM it crashes it"},
		{"app", "app", "/usr/bin/app", unix.SIGHUP, ""},
	} {
		var warning string
		proc := newFakeProc(t)
		proc.put(process{pid: 7, comm: test.comm, argv: []string{test.title}, caught: 1<<0 | 1<<9 | 1<<11 | 1<<13})
		symlink(t, test.exe, proc.root+"/7/exe")
		p := proc.byName(test.comm, Options{Signal: test.signal, Check: true}, func() {})
		p.opts.Warn = func(message string) { warning = message }
		if err := p.Notify(t.Context(), noChanges); err != nil {
			warning = err.Error()
		}
		if !strings.Contains(warning, test.want) || test.want == "" && warning != "" {
			t.Errorf("%s in %s: %q, want %q", test.comm, test.exe, warning, test.want)
		}
	}
}

// TestRuntimes_fatalWithoutCheck: SECRETSYNC_SIGNAL_CHECK=false permits no signal that is fatal for a runtime.
func TestRuntimes_fatalWithoutCheck(t *testing.T) {
	proc := newFakeProc(t)
	proc.put(process{pid: 7, comm: "java", caught: 1 << 11})
	p := proc.byName("java", Options{Signal: unix.SIGUSR2}, func() {})
	testsupport.WantError(t, p.Notify(t.Context(), noChanges), "in the JVM it crashes it")
	if len(proc.sent) > 0 {
		t.Errorf("signaled %v", proc.sent)
	}
}

// TestRuntimes: a signal is rejected if it is fatal for a runtime. If the handler can be
// the runtime's, there is a single warning.
func TestRuntimes(t *testing.T) {
	for _, test := range []struct {
		argv     string // separated by spaces
		signal   syscall.Signal
		fatal    string
		unproven bool
	}{
		{"ruby app.rb", unix.SIGHUP, "", true},
		{"ruby3.1 app.rb", unix.SIGUSR2, "", true},
		{"php8.2 worker.php", unix.SIGUSR1, "", true},
		{"php-fpm8.2", unix.SIGUSR2, "", false},
		{"java -jar app.jar", unix.SIGHUP, "", true},
		{"/usr/bin/java -jar app.jar", unix.SIGUSR2, "in the JVM it crashes it", false},
		{"node server.js", unix.SIGHUP, "", false},
		{"node server.js", unix.SIGUSR1, "in Node.js it opens its debugger", false},
		{"/usr/lib/erlang/erts/bin/beam.smp", unix.SIGUSR1, "", true},
		{"python3 app.py", unix.SIGHUP, "", false},
	} {
		var log strings.Builder
		var warnings []string
		proc := newFakeProc(t)
		proc.put(process{pid: 7, comm: "app", argv: strings.Fields(test.argv), caught: 1<<0 | 1<<9 | 1<<11})
		p := proc.byName("app", Options{Signal: test.signal, Check: true}, func() {})
		p.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		p.opts.Warn = func(message string) { warnings = append(warnings, message) }
		err := errors.Join(p.Notify(t.Context(), noChanges), p.Notify(t.Context(), noChanges))
		if test.fatal != "" {
			testsupport.WantError(t, err, test.fatal, "SECRETSYNC_SIGNAL")
		} else if err != nil {
			t.Errorf("%s: %v", test.argv, err)
		}
		if got := len(warnings) == 1 && strings.Count(log.String(), "WARN") == 1; got != test.unproven {
			t.Errorf("%s, %v: warnings %q, log %s, want one: %v", test.argv, test.signal, warnings, &log, test.unproven)
		}
	}
}

// TestGoRuntime: a Go program is recognized by its executable.
func TestGoRuntime(t *testing.T) {
	if New(Options{}).proc.language(process{pid: os.Getpid()}) != &golang {
		t.Error("the test binary is not recognized as a Go program")
	}
	h := runHelper(t, exec.Command("/bin/sh", "-c", "echo ready; read -r line"))
	if New(Options{}).proc.language(process{pid: h.pid}) == &golang {
		t.Error("a shell is recognized as a Go program")
	}
}
