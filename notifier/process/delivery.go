package process

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/wake"
	"github.com/secret-sync/secret-sync/notifier"
)

const (
	// pendingMax is the time for which Notify waits for a pending signal, and pendingPoll
	// the interval between two checks.
	pendingMax  = time.Second
	pendingPoll = 5 * time.Millisecond
	// survivalTime is the time for which a process must survive its signal. A program
	// without a handler of its own may shut down in an orderly way.
	survivalTime = 3 * time.Second
	survivalPoll = 50 * time.Millisecond
)

// A delivery is a signal sent to a process.
type delivery struct {
	process    process
	held       *os.Process // nil: no delivery
	generation uint64
	sent       time.Duration // since boot
}

// await waits until the signal is no longer pending. A process does not receive the
// signal while it is stopped or blocks the signal. If /proc does not show pending
// signals, the state is unknown and await returns nil. It also returns nil after the end
// of the process; see Survives.
func (s *sender) await(ctx context.Context, d delivery) error {
	for deadline := time.Now().Add(pendingMax); ; wake.Sleep(ctx, pendingPoll) {
		now, err := s.proc.read(d.process.pid)
		ended := err != nil || now.start != d.process.start || now.zombie
		if ended || !inMask(now.pending, s.opts.Signal) {
			s.setLast(d)
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			break
		}
	}
	s.outstanding = d
	d.held.Release()
	f := notifier.Failf("signal pending", "%s is pending for process %v: the process is stopped or blocks the signal",
		signalName(s.opts.Signal), d.process)
	f.RetryWithin = pendingMax
	return f
}

func (s *sender) setLast(d delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.held != nil {
		s.last.held.Release()
	}
	s.last = d
}

// Recipient returns the PID and the name of the process that was signaled last, or "".
func (s *sender) Recipient() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.held == nil {
		return ""
	}
	return s.last.process.String()
}

// Survives waits until survivalTime has passed since the last signal. It returns an
// error if the process ended before, because a handler does not prove a reload. There
// are two exceptions: signals intended to end a process, and a process replaced by a
// successor with the same name. If ctx ends first, Survives returns its error.
func (s *sender) Survives(ctx context.Context) error {
	s.mu.Lock()
	d := s.last
	s.mu.Unlock()
	if d.held == nil || !s.opts.ExitCheck || !needsHandler(s.opts.Signal) {
		return nil
	}
	for !s.ended(d) {
		if s.proc.uptime()-d.sent > survivalTime {
			s.find() // observes an exec
			return nil
		}
		if wake.Sleep(ctx, survivalPoll); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	after := s.proc.uptime() - d.sent
	if s.hasSuccessor(d) {
		return nil
	}
	return notifier.Failf("ended", "process %v ended %.1f s after %s; this signal does not make it reload its files",
		d.process, after.Seconds(), signalName(s.opts.Signal))
}

// ended polls the pidfd, which becomes readable when the process ends. Without a pidfd, it
// reads /proc.
func (s *sender) ended(d delivery) (ended bool) {
	err := d.held.WithHandle(func(fd uintptr) {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		ended = n > 0
	})
	if errors.Is(err, os.ErrNoHandle) {
		p, err := s.proc.read(d.process.pid)
		return err != nil || p.start != d.process.start || p.zombie
	}
	return ended || errors.Is(err, os.ErrProcessDone)
}

// hasSuccessor reports whether a process with the same name was started since the
// signal. If the kubelet starts the container again, its process comes later.
func (s *sender) hasSuccessor(d delivery) bool {
	all, _ := s.proc.all()
	return slices.ContainsFunc(all, func(p process) bool {
		return p.comm == d.process.comm && !p.zombie && p.start >= d.sent.Truncate(time.Second/hertz)
	})
}

// An observation is the state of a process when it was last seen.
type observation struct {
	stack   uint64
	matched bool
	execed  time.Duration // since boot; 0: no exec was observed
}

// observe sets execed for the processes that have called exec since the last call. exec
// changes the start of the stack. If the stack is unknown, a process that matches only now
// counts as executed: a shell may wait for a database and then execute the app. The shell
// may be hours old, while the app is milliseconds old.
func (s *sender) observe(seen []process, matches func(process) bool) {
	now, next := s.proc.uptime(), map[identity]observation{}
	for i, p := range seen {
		before, known := s.observed[p.id()]
		o := observation{stack: p.stack, matched: matches(p), execed: before.execed}
		unknown := p.stack == 0 || before.stack == 0
		if known && (!unknown && p.stack != before.stack || unknown && o.matched && !before.matched) {
			o.execed = now
		}
		next[p.id()], seen[i].execed = o, o.execed
	}
	s.observed = next
}
