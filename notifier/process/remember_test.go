package process

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestRemember_afterARestart: after a restart of the sidecar, a process that has called exec since its last signal is
// signaled at its minimum age, which begins with the restart.
func TestRemember_afterARestart(t *testing.T) {
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
			proc.setProcess(process{pid: 7, comm: "app", caught: 1, stack: 0x7ffd1000})
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
			proc.setProcess(process{pid: 7, comm: "app", caught: 1, stack: test.stack, start: test.start})
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
		{"running", time.Second, process{pid: 7, ppid: 6, start: time.Minute}, false, ""},
		{"survived", survivalTime + 1, process{pid: 7, ppid: 6, start: time.Minute}, true, ""},
		{"ended", time.Second, process{pid: 8, ppid: 6}, true, "process 7 (my app) ended 1.0 s after SIGHUP"},
		{"ended meanwhile", time.Minute, process{pid: 8}, true, "process 7 (my app) ended up to 60.0 s after SIGHUP"},
		{"PID reused", time.Second, process{pid: 7, start: time.Hour}, true, "ended"},
		{"successor", time.Second, process{pid: 8, ppid: 6, start: time.Hour}, true, ""},
	} {
		proc := newFakeProc(t)
		proc.setProcess(process{pid: 6, comm: "sv"})
		proc.setProcess(process{pid: 7, ppid: 6, comm: "my app", caught: 1, stack: 1, start: time.Minute})
		opts := Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}
		before, after := proc.byName("my app", opts, func() {}), proc.byName("my app", opts, func() {})
		if err := before.Notify(t.Context(), noChanges); err != nil {
			t.Fatal(err)
		}
		proc.remove(7)
		test.process.comm = "my app"
		proc.setProcess(test.process)
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

// TestRemember_worker: the process ends after a restart of the sidecar. A worker that it forked is no successor.
func TestRemember_worker(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "app", caught: 1, stack: 1})
	opts := Options{Signal: unix.SIGHUP, Check: true, ExitCheck: true}
	before, after := proc.byName("app", opts, func() {}), proc.byName("app", opts, func() {})
	if err := before.Notify(t.Context(), noChanges); err != nil {
		t.Fatal(err)
	}
	after.Remember(before.State())
	proc.remove(7)
	proc.setProcess(process{pid: 8, ppid: 1, comm: "app", stack: 1, start: time.Hour})
	after.proc.uptime = func() time.Duration { return time.Hour + time.Second }
	decided, err := after.Survived()
	testsupport.WantError(t, err, "process 7 (app) ended")
	if !decided {
		t.Error("not decided")
	}
}

// TestCheck_hiddenExec: if /proc hides the stack of a process, the process may execute itself again at each signal,
// also at the signal of an earlier sidecar. It receives the next signal at its minimum age after the signal. Puma ends
// otherwise.
func TestCheck_hiddenExec(t *testing.T) {
	const minAge = 5 * time.Second
	for stack, hidden := range map[uint64]time.Duration{0: minAge, 1: 0} {
		proc, now := newFakeProc(t), time.Hour
		proc.setProcess(process{pid: 7, comm: "app", caught: 1, stack: stack})
		p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, MinAge: minAge}, func() {})
		p.proc.uptime, p.started = func() time.Duration { return now }, now
		for signals := range 3 {
			now += hidden - 1
			if hidden > 0 {
				err := p.Notify(t.Context(), noChanges)
				testsupport.WantError(t, err, "which /proc hides", "SECRETSYNC_PROCESS_MIN_AGE")
			}
			now++
			if err := p.Notify(t.Context(), noChanges); err != nil || len(proc.sent) != signals+1 {
				t.Errorf("stack %d: %v; %d signals, want %d", stack, err, len(proc.sent), signals+1)
			}
		}
	}
}
