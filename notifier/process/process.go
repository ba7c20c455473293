// Package process notifies the app by a signal to one of its processes, found by
// name or by PID file.
//
// It promises that no process is signalled by accident, as far as /proc can tell:
// the process is old enough, has a handler for the signal, and still is the one
// that was found. It never signals itself, its children or the Pod's sandbox. It
// must not know what changed (a signal has no room for it), which generation that
// is, or when to retry. What no look into /proc can find out:
//
//   - The runtimes of Go and Java have a handler before the program asks for the
//     signal, and also if it never does. The minimum age stands in for that.
//   - A shell that execs the app after a long wait gives it its own age; ByName
//     accounts for that if it saw the shell.
//   - The process can exec between the last look and the signal (microseconds).
package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

// Options are what targets by name and by PID file have in common.
type Options struct {
	Signal syscall.Signal
	Check  bool          // the process must have a handler for the signal
	MinAge time.Duration // a younger process is not signalled yet
	Logger *slog.Logger
}

// sender finds a process and signals it, once that is safe.
type sender struct {
	opts    Options
	find    func() (process, error)
	confirm func(process) bool // of a second look: it still has the name, or is in the PID file
	proc    procfs
	self    int // this process's number
	euid    int
	open    func(pid int) (*os.Process, error)
	signal  func(*os.Process, os.Signal) error
	warn    sync.Once
}

func newSender(opts Options) sender {
	return sender{
		opts: opts, proc: systemProc, self: os.Getpid(), euid: os.Geteuid(),
		open: os.FindProcess, signal: (*os.Process).Signal,
	}
}

// Notify signals the process that it finds, in an order that makes its number
// safe:
//
//  1. Find it, and check its age.
//  2. Open a pidfd, which os.Process has inside: from here on the kernel holds one
//     process, and nothing below can reach another one that gets its number.
//  3. Read /proc again: start time, UID, and name or PID file must be those of the
//     process that was found. Check the masks of signals that are read now.
//  4. Signal through the pidfd. If the process has ended, this fails, whoever has
//     the number now; if not, it was alive in step 3.
//
// Where the kernel or a seccomp profile has no pidfds, os.Process has the number.
// The process can then end between 3 and 4 and its number be reused: microseconds,
// against a whole round of pid_max.
func (s *sender) Notify(context.Context, notifier.Changes) error {
	found, err := s.find()
	if err == nil {
		err = s.checkAge(found)
	}
	if err != nil {
		return err
	}
	held, err := s.open(found.pid)
	if err != nil {
		return notifier.Failf("open", "open process %v: %w", found, err)
	}
	defer held.Release()
	now, err := s.proc.read(found.pid)
	if err != nil {
		return s.explain(found, os.ErrProcessDone)
	}
	if now.start != found.start || now.uid != found.uid || now.zombie || !s.confirm(now) {
		return notifier.Failf("changed", "process %v was replaced while it was being checked", found)
	}
	if err := s.checkHandler(now); err != nil {
		return err
	}
	if err := held.WithHandle(func(uintptr) {}); errors.Is(err, os.ErrNoHandle) {
		s.warn.Do(func() {
			s.opts.Logger.Warn("no pidfd here: signals go by number, and a number reused within microseconds could be hit")
		})
	}
	if err := s.signal(held, s.opts.Signal); err != nil {
		return s.explain(now, err)
	}
	s.opts.Logger.Debug("signalled", "pid", now.pid, "comm", now.comm, "signal", signalName(s.opts.Signal))
	return nil
}

func (s *sender) checkAge(p process) error {
	age := s.proc.age(p)
	if age >= s.opts.MinAge {
		return nil
	}
	f := notifier.Failf("too young", "process %v is %v old and gets %s at %v",
		p, age.Round(time.Millisecond), signalName(s.opts.Signal), s.opts.MinAge)
	// A start time in the future (a restored checkpoint) must not wait longer than
	// a start just now.
	f.Waiting, f.RetryAfter = true, s.opts.MinAge-max(age, 0)+time.Second/hertz
	return f
}

// checkHandler refuses a process that the signal would kill, or that would not
// notice it.
func (s *sender) checkHandler(p process) error {
	signal, name := s.opts.Signal, signalName(s.opts.Signal)
	switch {
	case !s.opts.Check || !needsHandler(signal) || inMask(p.caught, signal):
		return nil
	case !p.masks:
		return notifier.Failf("no masks", "cannot see whether process %v has a handler for %s: /proc does not show it (gVisor?); "+
			"with SECRETSYNC_SIGNAL_CHECK=false any process older than the minimum age is signalled", p, name)
	case inMask(p.ignored, signal):
		return notifier.Failf("ignored", "process %v ignores %s: it would be lost", p, name)
	}
	return notifier.Failf("no handler", "process %v has no handler for %s and would not survive or not notice it: "+
		"is it still starting, or is this the wrong signal? (SECRETSYNC_SIGNAL_CHECK=false for a program that takes it by sigwait or signalfd)",
		p, name)
}

func (s *sender) explain(p process, err error) error {
	name := signalName(s.opts.Signal)
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return notifier.Failf("gone", "process %v ended before it could get %s", p, name)
	case errors.Is(err, unix.EPERM):
		return notifier.Failf("EPERM", "not permitted to send %s to process %v: it runs as UID %d and this container as UID %d; "+
			"set securityContext.runAsUser: %[3]d for this container, or have the app called with SECRETSYNC_WEBHOOK_URL: %[5]w",
			name, p, p.uid, s.euid, err)
	}
	return notifier.Failf("send", "send %s to process %v: %w", name, p, err)
}
