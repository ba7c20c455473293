// Package process notifies the app by sending a signal to a process, found by name or
// by PID file.
//
// As far as /proc shows, no process is signaled by accident. A process must be old
// enough, handle the signal, and still be the found process. The package never signals
// itself, its children, the Pod's sandbox or a process of another Pod. /proc does not
// show everything:
//
//   - Some runtimes install signal handlers for every program, see runtimes. The minimum
//     age gives the program time to install its own.
//   - exec does not change the start time of a process. The age starts again only if
//     the package has observed the process before and after the exec.
//   - A process can call exec between the last check and the signal (microseconds).
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

// Options are common to targets by name and by PID file.
type Options struct {
	Signal syscall.Signal
	Check  bool // require a handler for the signal
	// ExitCheck makes Survives report the end of a process after its signal.
	ExitCheck bool
	MinAge    time.Duration // minimum age of the process
	Logger    *slog.Logger
	// Warn, if set, publishes a warning that is not a failure.
	Warn func(message string)
}

// A sender finds a process and signals it if this is safe.
type sender struct {
	opts    Options
	find    func() (process, error)
	confirm func(found, now process) bool // reports whether find would still return this process
	proc    procfs
	self    int // PID
	euid    int
	open    func(pid int) (*os.Process, error)
	signal  func(*os.Process, os.Signal) error

	observed        map[identity]observation
	outstanding     delivery // its signal is pending in the kernel
	warnNumber      sync.Once
	warnRuntimeOnce sync.Once

	mu   sync.Mutex
	last delivery
}

func newSender(opts Options) *sender {
	return &sender{
		opts: opts, proc: systemProc, self: os.Getpid(), euid: os.Geteuid(),
		open: os.FindProcess, signal: (*os.Process).Signal,
	}
}

// Notify signals the process. The order of the steps prevents a signal to a reused PID:
//
//  1. Find the process and check its age.
//  2. Open a pidfd, which os.Process contains. From now on, it refers to the same process,
//     whatever happens to the PID.
//  3. Read /proc again. Start time, UID, and name or PID file must be those of the found
//     process. Check the signal masks.
//  4. Signal through the pidfd. This fails after the end of the process. Otherwise the
//     process was alive in step 3.
//  5. Wait until the signal is no longer pending.
//
// Without pidfds (old kernel, seccomp), os.Process uses the PID. The process could then
// end between steps 3 and 4, and its PID be reused within microseconds.
func (s *sender) Notify(ctx context.Context, changes notifier.Changes) error {
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
	now, err := s.proc.read(found.pid)
	switch {
	case err != nil:
		err = s.explain(found, os.ErrProcessDone)
	case now.start != found.start || now.uid != found.uid || now.stack != found.stack || now.zombie || !s.confirm(found, now):
		err = notifier.Failf("changed", "process %v was replaced while it was being checked", found)
	default:
		err = s.checkHandler(now)
	}
	if err != nil {
		held.Release()
		return err
	}
	return s.send(ctx, delivery{process: now, held: held, generation: changes.Generation})
}

// send signals the process and waits until the signal is delivered. If the signal of an
// earlier call is still pending, the process will handle it later than now, so a second
// signal is unnecessary.
func (s *sender) send(ctx context.Context, d delivery) error {
	previous := s.outstanding
	s.outstanding = delivery{}
	same := previous.process.id() == d.process.id() && previous.held != nil
	if same && (previous.generation == d.generation || inMask(d.process.pending, s.opts.Signal)) {
		d.sent = previous.sent
		return s.await(ctx, d)
	}
	if err := d.held.WithHandle(func(uintptr) {}); errors.Is(err, os.ErrNoHandle) {
		s.warnNumber.Do(func() {
			s.opts.Logger.Warn("no pidfd available: signals use the PID, and could reach a process with a PID reused within microseconds")
		})
	}
	d.sent = s.proc.uptime()
	if err := s.signal(d.held, s.opts.Signal); err != nil {
		d.held.Release()
		return s.explain(d.process, err)
	}
	return s.await(ctx, d)
}

// Settings returns the options for the choice of the process and the signal.
func (s *sender) Settings() string {
	return fmt.Sprintf("%s check=%v exit_check=%v min_age=%v", signalName(s.opts.Signal), s.opts.Check, s.opts.ExitCheck, s.opts.MinAge)
}

func (s *sender) checkAge(p process) error {
	age := s.proc.age(p)
	if age >= s.opts.MinAge {
		return nil
	}
	f := notifier.Failf("too young", "process %v is %v old; %s is sent at %v (SECRETSYNC_PROCESS_MIN_AGE)",
		p, age.Round(time.Millisecond), signalName(s.opts.Signal), s.opts.MinAge)
	// A start time in the future (a restored checkpoint) counts as now.
	f.Waiting, f.RetryAfter = true, s.opts.MinAge-max(age, 0)+time.Second/hertz
	return f
}

// checkHandler rejects a process if the signal would kill it or if it would not notice
// the signal.
func (s *sender) checkHandler(p process) error {
	signal, name := s.opts.Signal, signalName(s.opts.Signal)
	switch {
	case !s.opts.Check || !needsHandler(signal):
		return nil
	case inMask(p.caught, signal):
		return s.checkRuntime(p)
	case !p.masks:
		return notifier.Failf("no masks", "cannot determine whether process %v handles %s: /proc does not show it (gVisor?); "+
			"set SECRETSYNC_SIGNAL_CHECK=false to signal any process above the minimum age", p, name)
	case inMask(p.ignored, signal):
		return notifier.Failf("ignored", "process %v ignores %s; set SECRETSYNC_SIGNAL to a signal that it handles", p, name)
	}
	return notifier.Failf("no handler", "process %v has no handler for %s, so the signal would kill it or be lost; "+
		"if it is not still starting, set SECRETSYNC_SIGNAL to a signal that it handles, "+
		"or SECRETSYNC_SIGNAL_CHECK=false if it uses sigwait or signalfd", p, name)
}

func (s *sender) explain(p process, err error) error {
	name := signalName(s.opts.Signal)
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return notifier.Failf("gone", "process %v ended before %s was sent", p, name)
	case errors.Is(err, unix.EPERM):
		return notifier.Failf("EPERM", "not permitted to send %s to process %v: it runs as UID %d and this container as UID %d; "+
			"set securityContext.runAsUser: %[3]d for this container, or use SECRETSYNC_WEBHOOK_URL: %[5]w",
			name, p, p.uid, s.euid, err)
	}
	return notifier.Failf("send", "send %s to process %v: %w", name, p, err)
}
