//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/secret-sync/secret-sync/notifier"
)

const (
	pendingMax   = time.Second          // for which Notify waits for a pending signal
	pendingPoll  = 5 * time.Millisecond // between two checks of a pending signal
	survivalTime = 3 * time.Second      // for which a process must survive its signal
)

// A delivery is a signal sent to a process. The zero value is no delivery.
type delivery struct {
	process    process
	generation uint64
	sent       time.Duration // since boot; the latest time at which the process had certainly not received it
	pending    bool          // in the kernel: the process has not received it
}

// deliver signals the process and waits until the signal is no longer pending. It sends no second signal for the same
// generation, or while the signal of an earlier call is still pending: the process will handle that signal after now.
func (t *Target) deliver(ctx context.Context, held *os.Process, p process, generation uint64) error {
	d, last := delivery{process: p, generation: generation, sent: t.proc.uptime()}, t.last
	if last.pending && last.process.same(p) && (last.generation == generation || inMask(p.pending, t.opts.Signal)) {
		d.sent = last.sent
	} else if err := t.opts.Interval.Signal(p.pid, func() error { return t.send(held, p) }); err != nil {
		return err
	}
	_ = wait.PollUntilContextTimeout(ctx, pendingPoll, pendingMax, true, func(context.Context) (done bool, _ error) {
		// gVisor shows no pending signals. Survived decides about a process that ends here: it may have
		// received the signal.
		t.proc.unknown = nil
		before := t.proc.uptime()
		now, running := t.proc.again(p)
		if d.pending = running && inMask(now.pending, t.opts.Signal); d.pending {
			d.sent = before
		}
		d.pending = d.pending || t.proc.unknown != nil
		return !d.pending, nil
	})
	t.last = d
	if !d.pending {
		t.opts.Interval.Start(p.pid)
		return nil
	}
	f := notifier.Failf("signal pending", "%s is pending for process %v: the process is stopped or blocks the signal",
		signalName(t.opts.Signal), p)
	f.RetryWithin = pendingMax
	return f
}

func (t *Target) send(held *os.Process, p process) error {
	if err := held.WithHandle(func(uintptr) {}); errors.Is(err, os.ErrNoHandle) && !t.warnedPidfd {
		t.warnedPidfd = true
		t.opts.Logger.Warn("no pidfd available: signals use the PID, " +
			"and could reach a process with a PID reused within microseconds")
	}
	err, name := t.signal(held, t.opts.Signal), signalName(t.opts.Signal)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrProcessDone):
		return notifier.Failf("gone", "process %v ended before %s was sent", p, name)
	case errors.Is(err, unix.EPERM):
		return notifier.Failf("EPERM", "not permitted to send %s to process %v: it runs as UID %d "+
			"and this container as UID %d; set securityContext.runAsUser: %[3]d for this container, "+
			"or use SECRETSYNC_WEBHOOK_URL: %[5]w", name, p, p.uid, t.euid, err)
	}
	return notifier.Failf("send", "send %s to process %v: %w", name, p, err)
}

// Recipient returns the PID and the name of the process that received the last signal, or "".
func (t *Target) Recipient() string {
	if t.last.process.pid == 0 || t.last.pending {
		return ""
	}
	return t.last.process.String()
}

// stateFormat contains only a residue of the random address of the stack, because apps can read it in the volume.
const stateFormat = "%d %d %d %d %d %q"

// State describes the last signal and its process, for Remember after a restart.
func (t *Target) State() string {
	p := t.last.process
	return fmt.Sprintf(stateFormat, p.pid, p.start, p.stack%251, p.ppid, t.last.sent, p.comm)
}

// Remember sets the last signal to that of a State. The age of the process starts now if an exec has changed it.
func (t *Target) Remember(state string) {
	p, stack := &t.last.process, uint64(0)
	_, _ = fmt.Sscanf(state, stateFormat, &p.pid, &p.start, &stack, &p.ppid, &t.last.sent, &p.comm)
	if now, running := t.proc.again(*p); running {
		if now.matched, p.stack = true, now.stack; now.stack%251 != stack {
			now.execed = t.proc.uptime()
		}
		t.observed = tree{p.pid: now}
	}
}

// Survived reports whether the process survived its last signal for survivalTime. It returns an error if the process
// ended before, or at an unknown time before a late check, because a handler does not prove a reload. Exceptions are
// signals intended to end a process, and a successor.
func (t *Target) Survived() (decided bool, err error) {
	if !t.opts.ExitCheck || !needsHandler(t.opts.Signal) {
		return true, nil
	}
	t.proc.unknown = nil
	after := t.proc.uptime() - t.last.sent
	if after < 0 { // the node was restarted since, and every program with it
		return true, nil
	}
	_, running := t.proc.again(t.last.process)
	if running && after <= survivalTime {
		return false, nil
	}
	seen, err := t.proc.all()
	if err != nil {
		return false, nil
	}
	t.observe(seen) // an exec
	for _, p := range seen {
		running = running || t.succeeds(p, seen)
	}
	if running {
		return true, nil
	}
	within := "" // the exact time
	if after > survivalTime {
		within = "up to " // a late check does not know the time of the end
	}
	return true, notifier.Failf("ended", "process %v ended %s%.1f s after %s; if this repeats, the app "+
		"does not reload on this signal", t.last.process, within, after.Seconds(), signalName(t.opts.Signal))
}

// succeeds reports whether p replaces the process that received the last signal: a process with its name that it, or
// its parent, started after the signal. A container's first process and the kubelet's probes have the parent 0. A
// worker has the stack of its parent, because it is forked without exec. Orphans belong to PID 1 or to an ancestor,
// but to the old process until its last thread has ended.
func (t *Target) succeeds(p process, seen tree) bool {
	old := t.last.process
	worker := p.stack == old.stack && p.stack != 0
	related := p.ppid == old.pid || p.ppid == 1 || contains(seen.lineage(old.ppid), p.ppid)
	return p.comm == old.comm && p.start >= t.last.sent.Truncate(time.Second/hertz) && !p.inert && !worker && related
}
