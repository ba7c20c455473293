package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ExecOptions is which command is run in this container, without a shell.
type ExecOptions struct {
	Command []string // the program and its arguments; not empty
	Timeout time.Duration
	Logger  *slog.Logger
}

// Exec is the Target "exec": a command that has the changes as JSON on its
// standard input and SECRETSYNC_GENERATION in its environment. It has told the
// app when it exits with 0.
type Exec struct{ opts ExecOptions }

const (
	execTimeout = 30 * time.Second
	// pipeGrace is how long after the command's end its output is still read, when
	// a process that it left behind holds the other end. Below a second, as the
	// sidecar ends within that.
	pipeGrace = 500 * time.Millisecond
)

// NewExec returns a Target that runs the command at each Tell.
func NewExec(opts ExecOptions) *Exec {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Timeout <= 0 {
		opts.Timeout = execTimeout
	}
	return &Exec{opts: opts}
}

// Name returns "exec".
func (*Exec) Name() string { return "exec" }

// Tell runs the command and waits for its end. At the timeout, or when ctx is
// done, its process group is killed, so that no half of a pipeline goes on. What
// a command leaves behind when it exits by itself is left alone.
func (t *Exec) Tell(ctx context.Context, changes Changes) error {
	if len(t.opts.Command) == 0 {
		return errors.New("exec: no command")
	}
	input, err := encode(changes)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	cmd := t.command(ctx, input, changes.Generation)
	out, errs := t.lines("stdout"), t.lines("stderr")
	cmd.Stdout, cmd.Stderr = out, errs
	err = run(cmd)
	out.end()
	errs.end()
	return t.judge(ctx, err)
}

func (t *Exec) command(ctx context.Context, input []byte, generation uint64) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.opts.Command[0], t.opts.Command[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), "SECRETSYNC_GENERATION="+strconv.FormatUint(generation, 10))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Only called before Wait has reaped the command, so the number of the group
	// is still its own.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeGrace
	return cmd
}

// judge words the end. Of the command only the program's name is shown:
// arguments may be secret.
func (t *Exec) judge(ctx context.Context, err error) error {
	name := filepath.Base(t.opts.Command[0])
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failed("timeout", "exec %q: killed after %v: %w", name, t.opts.Timeout, ctx.Err())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it exited with 0; something it left behind holds its output
	case errors.As(err, &exit):
		return failed(exit.Error(), "exec %q: %s", name, exit.Error())
	}
	var path *os.PathError // "fork/exec /path: no such file or directory"
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("exec %q: %w", name, err)
}
