// Package exec notifies the app by running a command in this container.
//
// Each Notify runs the command once, with a timeout. The command reads the changes as
// JSON from its standard input, and SECRETSYNC_GENERATION from its environment. Exit
// code 0 means the app is notified. Errors and log lines do not contain the command's
// arguments, which may be secret.
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

// A Target is a command. It runs without a shell.
type Target struct {
	Command []string // the program and its arguments; not empty
	Timeout time.Duration
	Logger  *slog.Logger
}

// pipeGrace limits the wait for output after the command ended, if a process left
// behind holds the pipe open. It is below the second in which the sidecar ends.
const pipeGrace = 500 * time.Millisecond

// Notify runs the command and waits for it. At the timeout, or when ctx is done, it
// kills the process group, which includes every part of a pipeline. If the command
// exits by itself, the processes it leaves behind keep running.
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
	// Cancel runs before Wait reaps the command, so the group still has this number.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeGrace
	return cmd
}

// result converts the error of the command. It names the program without arguments.
func (t Target) result(ctx context.Context, err error) error {
	name := filepath.Base(t.Command[0])
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		return nil // with ErrWaitDelay: exit code 0, and another process holds the output open
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return notifier.Failf("timeout", "exec %q: killed after %v, see SECRETSYNC_EXEC_TIMEOUT: %w", name, t.Timeout, ctx.Err())
	}
	return fmt.Errorf("exec %q: %w", name, err)
}

// outputMax is the number of bytes logged per stream of a run.
const outputMax = 8 << 10

// An output stores the beginning of a stream. It accepts all data, so the command
// never blocks.
type output struct {
	kept    []byte
	omitted int // bytes
}

// Write never fails.
func (o *output) Write(data []byte) (int, error) {
	n := min(len(data), outputMax-len(o.kept))
	o.kept = append(o.kept, data[:n]...)
	o.omitted += len(data) - n
	return len(data), nil
}

func (t Target) logOutput(stream string, o output) {
	logger := t.Logger.With("target", "exec", "stream", stream)
	for line := range strings.Lines(strings.ToValidUTF8(string(o.kept), "�")) {
		logger.Info("output of the command", "line", strings.TrimRight(line, "\r\n"))
	}
	if o.omitted > 0 {
		logger.Info("omitted output of the command", "bytes", o.omitted)
	}
}
