// Package childprocess runs child processes that end no later than their parent, even
// if the parent ends by Ctrl-C, a panic, a test timeout or kill -9.
//
// The kernel kills the children (PR_SET_PDEATHSIG). This applies to direct children
// only: a grandchild may outlive both. Linux only.
package childprocess

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// A Process is a started program. Any goroutine may call its methods.
type Process struct {
	cmd   *exec.Cmd
	name  string
	enter func() error  // runs on the thread of the program before its start; may be nil
	done  chan struct{} // closed when the program has ended and its output is complete
}

// Start starts cmd in a process group of its own. Ctrl-C in the terminal then reaches
// only this program, which stops its children in order. The caller must set cmd's
// output before, and must not call cmd's methods.
func Start(cmd *exec.Cmd) (*Process, error) { return StartIn(cmd, nil) }

// StartIn calls enter and starts cmd on a thread used only for cmd. cmd inherits the
// changes of enter to its thread (unshare, setns). This program does not inherit
// them. The kernel does not kill such a child with its parent: in another PID
// namespace the child cannot see the parent, and it ends with the namespace.
func StartIn(cmd *exec.Cmd, enter func() error) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if enter == nil {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	cmd.SysProcAttr.Setpgid = true
	// A grandchild that keeps the output open must not block Wait.
	cmd.WaitDelay = 2 * time.Second

	p := &Process{cmd: cmd, name: filepath.Base(cmd.Path), enter: enter, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// run starts the program and waits for it on a single locked thread. The kernel sends
// the death signal when the thread that started the child ends, not when the process
// ends.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer close(p.done)
	var err error
	if p.enter == nil {
		defer runtime.UnlockOSThread()
	} else { // stays locked, so the runtime ends this changed thread
		err = p.enter()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // the result is in ProcessState
	}
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the program has ended and all its output
// was written.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode waits for the end and returns the exit code, or -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// State waits for the end and describes it, for example "exit status 1".
func (p *Process) State() string {
	<-p.done
	return p.cmd.ProcessState.String()
}

// Signal sends sig. It returns nil if the program has already ended.
func (p *Process) Signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Kill kills the program and waits for its end.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop sends SIGTERM, and kills the program if it still runs after the grace period.
// It waits for the end and reports whether the program ended without being killed.
func (p *Process) Stop(grace time.Duration) bool {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return true
	case <-time.After(grace):
		p.Kill()
		return false
	}
}
