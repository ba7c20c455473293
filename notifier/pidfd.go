package notifier

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel is the system calls that send a signal; tests replace them.
type kernel struct {
	open  func(pid int) (fd int, err error)
	send  func(fd int, signal syscall.Signal) error
	kill  func(pid int, signal syscall.Signal) error
	close func(fd int) error
}

var linux = kernel{
	open:  func(pid int) (int, error) { return unix.PidfdOpen(pid, 0) },
	send:  func(fd int, s syscall.Signal) error { return unix.PidfdSendSignal(fd, s, nil, 0) },
	kill:  unix.Kill,
	close: unix.Close,
}

// handle is one process, held by a pidfd, or by its number where there are none.
type handle struct {
	target *Process
	p      process
	fd     int // -1: none
}

// open holds the process. Where the kernel or a seccomp profile has no pidfds
// (gVisor; EPERM is what older profiles answer to calls they do not know, and
// the call itself never does) it goes by number, and says so once.
func (t *Process) open(p process) (*handle, error) {
	fd, err := t.kernel.open(p.pid)
	switch {
	case err == nil:
		return &handle{t, p, fd}, nil
	case errors.Is(err, unix.ESRCH):
		return nil, failed("gone", "process %v ended before it could get %s", p, signalName(t.opts.Signal))
	case unsupported(err) || errors.Is(err, unix.EPERM):
		t.note("pidfd_open", err)
		return &handle{t, p, -1}, nil
	}
	return nil, failed("pidfd_open", "pidfd_open of process %v: %w", p, err)
}

func (h *handle) close() {
	if h.fd >= 0 {
		h.target.kernel.close(h.fd)
	}
}

func (h *handle) send(signal syscall.Signal) error {
	if h.fd >= 0 {
		err := h.target.kernel.send(h.fd, signal)
		// EPERM is the answer of a seccomp profile too: then a user who may signal
		// the process is told otherwise, and kill decides.
		filtered := errors.Is(err, unix.EPERM) && h.target.permitted(h.p)
		if !unsupported(err) && !filtered {
			return err
		}
		h.target.note("pidfd_send_signal", err)
	}
	return h.target.kernel.kill(h.p.pid, signal)
}

// unsupported: not a word about this process, the kernel has no such call, or
// only a part of it.
func unsupported(err error) bool {
	for _, errno := range []error{unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.EBADF, unix.ENODEV} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func (t *Process) note(call string, err error) {
	t.noted.Do(func() {
		t.opts.Logger.Warn("no pidfd here: signals go by number, and one that is reused within microseconds could be hit", "call", call, "err", err)
	})
}

// permitted is the kernel's rule for kill(2) without capabilities: our real or
// effective user is the target's real or saved one.
func (t *Process) permitted(p process) bool {
	for _, mine := range t.uids {
		if mine == p.uids[0] || mine == p.uids[2] {
			return true
		}
	}
	return t.uids[1] == 0
}

func (t *Process) explain(p process, err error) error {
	name := signalName(t.opts.Signal)
	switch {
	case errors.Is(err, unix.ESRCH):
		return failed("gone", "process %v ended before it could get %s", p, name)
	case errors.Is(err, unix.EPERM):
		return failed("EPERM", "not permitted to send %s to process %v: it runs as UID %d and this container as UID %d; "+
			"set securityContext.runAsUser: %[3]d for this container, or have the app called with SECRETSYNC_WEBHOOK_URL: %[5]w",
			name, p, p.uids[0], t.uids[1], err)
	}
	return failed("send", "send %s to process %v: %w", name, p, err)
}
