// Package childprocess runs child processes that do not outlive their parent,
// however the parent ends: Ctrl-C, a panic, a test's timeout or kill -9.
//
// The kernel kills them (PR_SET_PDEATHSIG), direct children only: a grandchild
// may outlive both. Linux only.
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

// Process is a started program. Its methods may be called from any goroutine.
type Process struct {
	cmd   *exec.Cmd
	name  string
	enter func() error  // nil: nothing
	done  chan struct{} // closed once the program has ended and its output is read
}

// Start starts cmd in a process group of its own, so that a Ctrl-C in the
// terminal reaches this program alone and the order of the end is ours.
// The caller must have set cmd's output, and must not call cmd's methods.
func Start(cmd *exec.Cmd) (*Process, error) { return StartIn(cmd, nil) }

// StartIn is Start after enter, called on a thread that is used for this program
// alone: what enter does to its thread (unshare, setns) the program inherits, and
// nothing else. Such a program is not killed with this one: in another PID namespace
// it does not see its parent, and ends with the first process there.
func StartIn(cmd *exec.Cmd, enter func() error) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if enter == nil {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	cmd.SysProcAttr.Setpgid = true
	// A grandchild that holds the output open must not hold back Wait.
	cmd.WaitDelay = 2 * time.Second

	p := &Process{cmd: cmd, name: filepath.Base(cmd.Path), enter: enter, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// run starts the program and waits for it on one locked thread: the death signal
// is sent when the thread that started the child ends, not when the process does.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer close(p.done)
	var err error
	if p.enter == nil {
		defer runtime.UnlockOSThread()
	} else { // never unlocked: the runtime ends a thread that is not as the others
		err = p.enter()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // what matters of it is in ProcessState
	}
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the program has ended and all its output has been written.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode waits for the end and gives the exit code, -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// State waits for the end and says how it came, as "exit status 1".
func (p *Process) State() string {
	<-p.done
	return p.cmd.ProcessState.String()
}

// Signal sends sig. A program that has ended already is no error.
func (p *Process) Signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Kill kills the program and waits until it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the program to end with SIGTERM, and kills it when it has not within
// the grace time. It waits until it is gone, and says whether it went by itself.
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
