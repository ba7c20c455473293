//go:build linux

// Package exec notifies the app by running a command in this container.
//
// Errors and log lines do not contain the command's arguments, which may be secret.
package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

const (
	pipeGrace = 500 * time.Millisecond // for the output of processes left behind: the sidecar must end within a second
	outputMax = 8 << 10                // bytes logged per stream of a run
)

// A Target is a command. It runs without a shell.
type Target struct {
	Command []string // the program and its arguments; not empty
	Timeout time.Duration
	Logger  *slog.Logger
}

var running sync.RWMutex // held while a command runs

// Notify runs the command with the changes as its standard input. Exit code 0 means the app is notified. At
// the timeout, or when ctx is done, Notify kills the process group, which includes every part of a pipeline.
// If the command exits by itself, the processes it leaves behind keep running.
func (t Target) Notify(ctx context.Context, changes notifier.Changes) error {
	running.RLock()
	defer running.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.Command[0], t.Command[1:]...)
	input, _ := json.Marshal(changes) // names and numbers always encode
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), "SECRETSYNC_GENERATION="+strconv.FormatUint(changes.Generation, 10))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Cancel runs before Wait reaps the command, so the group still has this number.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeGrace
	var stdout, stderr output
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	stdout.log(t.Logger.With("target", "exec", "stream", "stdout"))
	stderr.log(t.Logger.With("target", "exec", "stream", "stderr"))
	name := filepath.Base(t.Command[0])
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		return nil // with ErrWaitDelay: exit code 0, and another process holds the output open
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return notifier.Failf("timeout", "exec %q: killed after %v, see SECRETSYNC_EXEC_TIMEOUT: %w",
			name, t.Timeout, ctx.Err())
	}
	kind := "start"
	if cmd.ProcessState != nil {
		kind = cmd.ProcessState.String()
	}
	return notifier.Failf(kind, "exec %q: %w", name, err)
}

// An output stores the beginning of a stream. It accepts all data, so the command never blocks.
type output struct {
	kept    []byte
	omitted int // bytes
}

func (o *output) Write(data []byte) (int, error) {
	n := min(len(data), outputMax-len(o.kept))
	o.kept = append(o.kept, data[:n]...)
	o.omitted += len(data) - n
	return len(data), nil
}

func (o *output) log(logger *slog.Logger) {
	for line := range strings.Lines(strings.ToValidUTF8(string(o.kept), "�")) {
		logger.Info("output of the command", "line", strings.TrimRight(line, "\r\n"))
	}
	if o.omitted > 0 {
		logger.Info("omitted output of the command", "bytes", o.omitted)
	}
}

// Reap reaps the processes that commands leave behind, until ctx is done. It is intended for PID 1 of a
// container, which inherits every orphan. While a command runs, Reap waits, because os/exec would lose the
// exit status of a command. Therefore nothing else in this program may start processes.
func Reap(ctx context.Context) {
	os.FindProcess(os.Getpid()) // the first call waits for a child, to test the kernel for pidfds
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ended:
			running.Lock()
			for pid := 1; pid > 0; {
				pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			}
			running.Unlock()
		}
	}
}
