//go:build linux

// Package process notifies the app by a signal to a process, found by name or by PID file.
//
// As far as /proc shows, the process is old enough, handles the signal, and is still the found process. It
// is never this process or its child, the Pod's sandbox or a process of another Pod. /proc does not show the
// handlers that some languages install for every program, an exec before the first observation of the
// process, and an exec in the microseconds between the last check and the signal.
package process

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

const (
	pidFileMax   = 4 << 10                // bytes; PostgreSQL writes seven lines after the number
	pidFileSlack = time.Minute            // between the clocks of the file's time and of start times
	pidFileRetry = 500 * time.Millisecond // between two reads of a file that names no process
)

// Options configure a Target. Set either Name or PIDFile. All other fields are required.
type Options struct {
	Name      string // comm, or the base name of argv[0], of a title or of a script
	PIDFile   string // contains a number of the PID namespace of this process
	Signal    syscall.Signal
	Check     bool               // require a handler for the signal
	ExitCheck bool               // make Survived report the end of a process after its signal
	MinAge    time.Duration      // minimum age of the process
	Interval  *notifier.Interval // shared by all targets
	Logger    *slog.Logger
	Warn      func(message string) // publishes a warning that is not a failure
}

// A Target finds a process and signals it if this is safe.
type Target struct {
	opts   Options
	proc   procfs
	self   int // PID
	euid   int
	open   func(pid int) (*os.Process, error)
	signal func(*os.Process, os.Signal) error

	started                     time.Duration // of this sidecar, since boot
	observed                    tree          // at the last read
	last                        delivery
	warnedPidfd, warnedLanguage bool
}

// New returns a Target. Its methods are not safe for concurrent use.
func New(opts Options) *Target {
	return &Target{
		opts: opts, proc: procfs{root: "/proc", uptime: uptime}, self: os.Getpid(), euid: os.Geteuid(),
		open: os.FindProcess, signal: (*os.Process).Signal, started: uptime(),
	}
}

// Settings returns the options that decide whether a signal ends the process.
func (t *Target) Settings() string {
	o := t.opts
	return fmt.Sprintf("%s check=%v exit_check=%v min_age=%v", signalName(o.Signal), o.Check, o.ExitCheck, o.MinAge)
}

// Notify signals the process. The order of the steps prevents a signal to a reused PID:
//
//  1. Find the process.
//  2. Open a pidfd, which os.Process contains. It refers to the same process, whatever happens to the PID.
//  3. Read /proc again. The process must still be the found process. Check its age and its handlers.
//  4. Signal through the pidfd. This fails after the end of the process.
//  5. Wait until the signal is no longer pending.
//
// Without pidfds (old kernel, seccomp), os.Process uses the PID. The process could then end between
// steps 3 and 4, and its PID be reused within microseconds.
func (t *Target) Notify(ctx context.Context, changes notifier.Changes) (err error) {
	t.proc.unknown = nil
	defer func() { err = cmp.Or(t.proc.unknown, err) }()
	found, err := t.find()
	if err != nil {
		return err
	}
	held, _ := t.open(found.pid) // never fails on Unix
	defer held.Release()
	now, running := t.proc.again(found)
	if !running || now.uid != found.uid || now.stack != found.stack || now.comm != found.comm ||
		t.matches(now) != found.matched {
		return notifier.Failf("changed", "process %v ended or was replaced while it was being checked", found)
	}
	now.execed = found.execed
	if err := cmp.Or(t.check(now), t.proc.unknown); err != nil {
		return err
	}
	return t.deliver(ctx, held, now, changes.Generation)
}

func (t *Target) find() (process, error) {
	if t.opts.PIDFile != "" {
		return t.findByFile()
	}
	seen, err := t.proc.all()
	if err != nil {
		return process{}, err
	}
	return t.choose(seen)
}

func (t *Target) matches(p process) bool {
	if t.opts.PIDFile == "" {
		return p.is(t.opts.Name)
	}
	pid, _, err := t.readFile()
	return err == nil && pid == p.pid
}

func (t *Target) findByFile() (process, error) {
	pid, written, err := t.readFile()
	if err != nil {
		return process{}, err
	}
	p, err := t.proc.read(pid)
	if t.proc.unknown != nil {
		return p, t.proc.unknown
	}
	seen := tree{pid: p}
	t.observe(seen)
	switch started := time.Now().Add(p.start - t.proc.uptime()); {
	case err != nil || p.inert:
		return p, t.fileError("stale", "process %d does not exist, has ended or is a thread; the file may be stale%s",
			pid, t.hint(", or the Pod's spec lacks shareProcessNamespace: true"))
	case p.pid == t.self:
		return p, t.fileError("self", "%d is secret-sync itself", pid)
	case !t.proc.inPod(p.pid):
		return p, t.fileError("other Pod", "process %v belongs to another Pod", p)
	case started.After(written.Add(pidFileSlack)): // a program writes the file after its start
		return p, t.fileError("reused", "process %v started after the file was written, so the PID was reused", p)
	}
	return seen[pid], nil
}

// readFile returns the PID in the first line of the file and the time of its last change. It never blocks on
// a FIFO. Its errors do not contain the text, because the path may name an unrelated file.
func (t *Target) readFile() (pid int, written time.Time, err error) {
	f, err := os.OpenFile(t.opts.PIDFile, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, written, t.fileError("open", "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > pidFileMax {
		return 0, written, t.fileError("no file", "not a regular file of at most %d bytes", pidFileMax)
	}
	data, err := io.ReadAll(io.LimitReader(f, pidFileMax))
	if err != nil {
		return 0, written, err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	number, err := strconv.ParseInt(strings.TrimSpace(line), 10, 32)
	if err != nil || number <= 1 {
		return 0, written, t.fileError("no number", "the file does not begin with a number above 1")
	}
	return int(number), info.ModTime(), nil
}

func (t *Target) fileError(kind, format string, args ...any) error {
	f := notifier.Failf(kind, "PID file %q: %w", t.opts.PIDFile, fmt.Errorf(format, args...))
	f.RetryWithin = pidFileRetry
	return f
}

// check rejects a process that is too young, and a signal that would kill the process or be lost. If /proc hides an
// exec, the age counts from the last signal, or from the start of this sidecar: an earlier sidecar may have sent a
// signal. The process may execute itself again at each signal.
func (t *Target) check(p process) error {
	signal, name, age, lang, from := t.opts.Signal, signalName(t.opts.Signal), t.proc.age(p), t.proc.language(p), ""
	if p.stack == 0 {
		age = min(age, t.proc.uptime()-max(t.started, t.last.sent))
		from = " or may have executed itself again then, which /proc hides"
	}
	switch {
	case age < t.opts.MinAge:
		f := notifier.Failf("too young", "process %v is %v old%s; %s is sent at %v (SECRETSYNC_PROCESS_MIN_AGE)",
			p, age.Round(time.Millisecond), from, name, t.opts.MinAge)
		// A start time in the future (a restored checkpoint) counts as now.
		f.Waiting, f.RetryAfter = true, t.opts.MinAge-max(age, 0)+time.Second/hertz
		return f
	case lang != nil && lang.Fatal == name:
		return notifier.Failf("unsafe signal", "%s is unsafe for process %v: in %s it %s; "+
			"set SECRETSYNC_SIGNAL to another signal", name, p, lang.Name, lang.Effect)
	case !t.opts.Check || !needsHandler(signal):
		return nil
	case inMask(p.caught, signal):
		t.warn(p, lang)
		return nil
	case !p.masks:
		return notifier.Failf("no masks", "cannot determine whether process %v handles %s: "+
			"/proc does not show it (gVisor?); set SECRETSYNC_SIGNAL_CHECK=false to signal any process "+
			"above the minimum age", p, name)
	case inMask(p.ignored, signal):
		return notifier.Failf("ignored", "process %v ignores %s; "+
			"set SECRETSYNC_SIGNAL to a signal that it handles", p, name)
	}
	return notifier.Failf("no handler", "process %v has no handler for %s, so the signal would kill it or be lost; "+
		"if it is not still starting, set SECRETSYNC_SIGNAL to a signal that it handles, "+
		"or SECRETSYNC_SIGNAL_CHECK=false if it uses sigwait or signalfd", p, name)
}

// warn warns once if the handler of a process may be the handler of its language.
func (t *Target) warn(p process, lang *language) {
	name := signalName(t.opts.Signal)
	if lang == nil || t.warnedLanguage || lang != &golang && !slices.Contains(lang.Handles, name) {
		return
	}
	t.warnedLanguage = true
	message := fmt.Sprintf("process %v may not handle %s itself: %s installs a handler for every program; "+
		"the program must install its own within SECRETSYNC_PROCESS_MIN_AGE (%v)", p, name, lang.Name, t.opts.MinAge)
	t.opts.Logger.Warn("cannot verify the signal handler", "reason", message)
	t.opts.Warn(message)
}
