// Package exec notifies the app by a command in this container.
//
// It promises one run per Notify, bounded in time, with the changes as JSON on the
// command's standard input and SECRETSYNC_GENERATION in its environment. The app
// is notified when the command exits with 0. No error or log line shows the
// command's arguments, which may be secret. It must not know what the command
// does, or when to run it again.
package exec

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
	"strings"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// Target is a command that is run without a shell.
type Target struct {
	Command []string // the program and its arguments; not empty
	Timeout time.Duration
	Logger  *slog.Logger
}

// pipeGrace is how long the output is still read after the command's end, when a
// process that it left behind has the other end open. The sidecar ends within a
// second.
const pipeGrace = 500 * time.Millisecond

// Notify runs the command and waits for its end. At the timeout, or when ctx is
// done, its process group is killed, so that no part of a pipeline goes on. What
// a command leaves behind when it exits by itself is left alone.
func (t Target) Notify(ctx context.Context, changes notifier.Changes) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	cmd := t.command(ctx, changes)
	var stdout, stderr output
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	t.logOutput("stdout", stdout)
	t.logOutput("stderr", stderr)
	return t.result(ctx, err)
}

func (t Target) command(ctx context.Context, changes notifier.Changes) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.Command[0], t.Command[1:]...)
	cmd.Stdin = bytes.NewReader(changes.JSON())
	cmd.Env = append(os.Environ(), "SECRETSYNC_GENERATION="+strconv.FormatUint(changes.Generation, 10))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Only called before Wait has reaped the command, so the number of the group
	// is still its own.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeGrace
	return cmd
}

// result returns the error for the command's end. It shows the program alone:
// arguments may be secret.
func (t Target) result(ctx context.Context, err error) error {
	name := filepath.Base(t.Command[0])
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		return nil // it exited with 0, maybe leaving behind what has its output open
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return notifier.Failf("timeout", "exec %q: killed after %v: %w", name, t.Timeout, ctx.Err())
	}
	return fmt.Errorf("exec %q: %w", name, err)
}

// outputMax is how many bytes of one stream of one run are logged.
const outputMax = 8 << 10

// output keeps the beginning of what is written to it. It accepts everything, so
// that a command that writes much does not block.
type output struct {
	kept []byte
	cut  int // bytes that were left out
}

// Write never fails.
func (o *output) Write(data []byte) (int, error) {
	take := min(len(data), outputMax-len(o.kept))
	o.kept = append(o.kept, data[:take]...)
	o.cut += len(data) - take
	return len(data), nil
}

func (t Target) logOutput(stream string, o output) {
	logger := t.Logger.With("target", "exec", "stream", stream)
	for line := range strings.Lines(strings.ToValidUTF8(string(o.kept), "�")) {
		logger.Info("output of the command", "line", strings.TrimRight(line, "\r\n"))
	}
	if o.cut > 0 {
		logger.Info("the command wrote more", "bytes_cut", o.cut)
	}
}
