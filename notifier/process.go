package notifier

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// ProcessOptions is which process gets which signal. Name or PIDFile is set.
type ProcessOptions struct {
	// Name is the process's comm, or the base of argv[0] or of its script.
	Name string
	// PIDFile has the number in its first line, as this process's PID namespace
	// numbers it: with shareProcessNamespace the app's own number, which is what
	// it writes, without it a number of somebody else.
	PIDFile string
	Signal  syscall.Signal
	// Check: the process must have a handler for the signal.
	Check bool
	// MinAge: a younger process is not signalled yet.
	MinAge time.Duration
	Logger *slog.Logger
}

// Process is the Target "process": a signal to a process that another container
// of the Pod runs. Its limits, which no look into /proc can lift:
//
//   - The runtimes of Go and Java have a handler before the program asks for the
//     signal, and for one that never asks. The minimum age stands in for that.
//   - The age is that of the process. A shell that execs the app after a long
//     wait is as old as the shell; see history for what is done about it.
//   - Between the last look and the signal the process can exec (microseconds).
type Process struct {
	opts   ProcessOptions
	proc   procfs
	kernel kernel
	self   int
	uids   [2]int // real, effective
	noted  sync.Once

	history history   // of the processes that do not match
	pidFile fileState // of the PID file at the last look, for Wake
}

// NewProcess returns a Target; it looks for the process at each Tell.
func NewProcess(opts ProcessOptions) *Process {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Process{
		opts: opts, kernel: linux,
		proc: procfs{root: "/proc", uptime: uptime},
		self: os.Getpid(), uids: [2]int{os.Getuid(), os.Geteuid()},
	}
}

// Name returns "process".
func (*Process) Name() string { return "process" }

// Tell finds the process and signals it once that is safe. The changes are not
// told: a signal has room for none.
func (t *Process) Tell(context.Context, Changes) error {
	found, err := t.find()
	if err != nil {
		return err
	}
	if left := t.opts.MinAge - t.age(found); left > 0 {
		// A start time in the future (a restored checkpoint) must not wait longer
		// than a start just now.
		return &failure{
			reason: "too young", waiting: true, after: min(left, t.opts.MinAge) + time.Second/hertz,
			err: fmt.Errorf("process %v is %v old: it gets %s when it is %v",
				found, t.age(found).Round(time.Millisecond), signalName(t.opts.Signal), t.opts.MinAge),
		}
	}
	return t.signal(found)
}

func (t *Process) find() (process, error) {
	if t.opts.PIDFile != "" {
		return t.findByFile()
	}
	all, err := t.proc.all()
	if err != nil {
		return process{}, err
	}
	defer t.history.remember(all, t.matches, t.proc.uptime())
	return t.choose(all)
}

func (t *Process) matches(p process) bool { return p.is(t.opts.Name) }

func (t *Process) age(p process) time.Duration {
	return t.proc.uptime() - max(p.start, t.history.since(p))
}

// signal sends it, in an order that makes the number safe:
//
//  1. pidfd_open: from here on the kernel holds one process, and while that one
//     lives no other can get its number.
//  2. Read /proc again: start time, user and name are those of the choice, and
//     what the masks say is said of that process.
//  3. pidfd_send_signal: ESRCH when it has ended, whoever has the number now. If
//     there is no ESRCH, it was alive in step 2, and step 2 read this process.
//
// Without pidfds there is a gap between 2 and 3 in which the process can end and
// its number come round: microseconds, against a whole round of pid_max.
func (t *Process) signal(found process) error {
	handle, err := t.open(found)
	if err != nil {
		return err
	}
	defer handle.close()
	now, err := t.proc.read(found.pid)
	if err != nil {
		return failed("gone", "process %v ended before it could get %s", found, signalName(t.opts.Signal))
	}
	if now.start != found.start || now.uids != found.uids || now.zombie || !t.stillMeant(now) {
		return failed("changed", "process %v became another one while it was looked at", found)
	}
	if err := t.handles(now); err != nil {
		return err
	}
	if err := handle.send(t.opts.Signal); err != nil {
		return t.explain(now, err)
	}
	t.opts.Logger.Debug("signalled", "pid", now.pid, "comm", now.comm, "signal", signalName(t.opts.Signal))
	return nil
}

// stillMeant: is it, at the last look, what the name or the file asks for?
func (t *Process) stillMeant(p process) bool {
	if t.opts.PIDFile == "" {
		return t.matches(p)
	}
	pid, err := t.readPIDFile() // it was replaced, or had been half written
	return err == nil && pid == p.pid
}

// handles refuses a process that would be killed by the signal, or lose it.
func (t *Process) handles(p process) error {
	signal := t.opts.Signal
	switch {
	case !t.opts.Check || !needsHandler(signal) || in(p.caught, signal):
		return nil
	case !p.masks:
		return failed("no masks", "cannot see whether process %v has a handler for %s: /proc does not tell here (gVisor?); "+
			"with SECRETSYNC_SIGNAL_CHECK=false any process older than the minimum age gets it", p, signalName(signal))
	case in(p.ignored, signal):
		return failed("ignored", "process %v ignores %s: it would be lost", p, signalName(signal))
	}
	return failed("no handler", "process %v has no handler for %s and would not survive or not notice it: "+
		"is it still starting, or the wrong signal? (SECRETSYNC_SIGNAL_CHECK=false for a program that takes it by sigwait or signalfd)",
		p, signalName(signal))
}
