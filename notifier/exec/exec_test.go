package exec

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

var someChanges = notifier.Changes{
	Generation: 7, Secrets: []string{"db"}, Added: []string{}, Changed: []string{"db/password"},
	Removed: []string{"db/old"},
}

// patience is longer than any command of these tests.
const patience = 20 * time.Second

func sh(script string, timeout time.Duration, log *testsupport.Log) Target {
	return Target{
		Command: []string{"/bin/sh", "-c", script}, Timeout: timeout, Logger: log.Logger(slog.LevelInfo),
	}
}

func TestExec_input(t *testing.T) {
	var log testsupport.Log
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SECRETSYNC_GENERATION", "999") // the command does not inherit this value
	err := sh(`{ cat; echo; echo "$SECRETSYNC_GENERATION"; } > `+out, patience, &log).Notify(t.Context(), someChanges)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	want := `{"generation":7,"secrets":["db"],"added":[],"changed":["db/password"],"removed":["db/old"]}` + "\n7\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestExec_inputUnread: a command can succeed without reading its input.
func TestExec_inputUnread(t *testing.T) {
	var log testsupport.Log
	changes := notifier.Changes{Generation: 7, Changed: []string{strings.Repeat("x", 1<<20)}}
	if err := sh("exit 0", patience, &log).Notify(t.Context(), changes); err != nil {
		t.Error(err)
	}
}

// TestExec_withoutShell: no shell interprets the arguments.
func TestExec_withoutShell(t *testing.T) {
	var log testsupport.Log
	e := Target{Command: []string{"/bin/echo", "$HOME;", "*"}, Timeout: patience, Logger: log.Logger(slog.LevelInfo)}
	if err := e.Notify(t.Context(), someChanges); err != nil || log.Count(`line="$HOME; *"`) != 1 {
		t.Errorf("error %v, log:\n%s", err, &log)
	}
}

func TestExec_fails(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":        "exit status 3",
		"kill -KILL $$": "signal: killed",
	} {
		var log testsupport.Log
		err := sh(script, patience, &log).Notify(t.Context(), someChanges)
		testsupport.WantError(t, err, `"sh"`, want)
		if kind := notifier.AsFailure(err).Kind; kind != want {
			t.Errorf("%s: kind = %q, want %q", script, kind, want)
		}
	}
	for _, command := range [][]string{{"/no/such/program", "hunter2"}, {"no-such-program", "hunter2"},
		{t.TempDir(), "hunter2"}} {
		var log testsupport.Log
		e := Target{Command: command, Timeout: patience, Logger: log.Logger(slog.LevelDebug)}
		err := e.Notify(t.Context(), someChanges)
		testsupport.WantError(t, err, "exec")
		if kind := notifier.AsFailure(err).Kind; kind != "start" {
			t.Errorf("%q: kind = %q, want the constant %q", command[0], kind, "start")
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error contains an argument: %v", err)
		}
	}
}

func TestExec_output(t *testing.T) {
	var log testsupport.Log
	script := `echo one; printf 'two\r\n' >&2; printf '\377\n'; printf last`
	if err := sh(script, patience, &log).Notify(t.Context(), someChanges); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"target=exec stream=stdout line=one", "stream=stderr line=two\n", `line="�"`,
		"line=last"} {
		if log.Count(want) != 1 {
			t.Errorf("no %q in:\n%s", want, &log)
		}
	}
}

// TestExec_boundedOutput: the log contains the beginning of each stream and the number of
// omitted bytes.
func TestExec_boundedOutput(t *testing.T) {
	var log testsupport.Log
	script := `i=0; while [ $i -lt 1000 ]; do printf '%2000d\n' $i; i=$((i+1)); done; echo err >&2`
	if err := sh(script, patience, &log).Notify(t.Context(), someChanges); err != nil {
		t.Fatal(err)
	}
	lines, omitted := outputMax/2001+1, 1000*2001-outputMax // the last line is incomplete
	if got := log.Count("stream=stdout line="); got != lines {
		t.Errorf("%d lines, want %d", got, lines)
	}
	if log.Count(fmt.Sprintf("stream=stdout bytes=%d\n", omitted)) != 1 || log.Count("stream=stderr line=err\n") != 1 ||
		log.Count("omitted output") != 1 {
		t.Errorf("want one line with the number of omitted bytes; %d bytes of log", len(log.String()))
	}
	if got := len(log.String()); got > 2*outputMax {
		t.Errorf("%d bytes of log", got)
	}
}

// TestExec_timeoutKillsTheGroup: the timeout also ends the children of a shell and the
// processes holding its output.
func TestExec_timeoutKillsTheGroup(t *testing.T) {
	var log testsupport.Log
	pids := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf(`sleep 1000 & echo $! >> %[1]s; (sleep 1000 & echo $! >> %[1]s; wait) & echo $! >> %[1]s; `+
		`wait`,
		pids)
	testsupport.WantError(t, sh(script, 500*time.Millisecond, &log).Notify(t.Context(), someChanges),
		"killed after 500ms",
		"SECRETSYNC_EXEC_TIMEOUT")
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	numbers := strings.Fields(string(text))
	if len(numbers) != 3 {
		t.Fatalf("pids = %q, want three", numbers)
	}
	for _, number := range numbers {
		pid, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		waitGone(t, pid)
	}
}

// waitGone waits for the end of a killed process.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	testsupport.EventuallyWithin(t, patience, "the end of a process", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return fmt.Errorf("%s is alive", stat)
		}
		return nil
	})
}

// TestExec_leftBehind: a command succeeds when it exits, although a process left behind
// holds its output. This process keeps running.
func TestExec_leftBehind(t *testing.T) {
	var log testsupport.Log
	pidFile := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	if err := sh(`sleep 1000 & echo $! > `+pidFile, time.Minute, &log).Notify(t.Context(), someChanges); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Notify took %v", took)
	}
	pid := readNumber(t, pidFile)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the process that was left behind ended: %v", err)
	}
}

// TestExec_endsWithItsContext: the end of the sidecar ends the command within a second,
// even if a process outside the group holds its output.
func TestExec_endsWithItsContext(t *testing.T) {
	var log testsupport.Log
	dir := t.TempDir()
	fifo, pidFile := dir+"/fifo", dir+"/pid"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"", "setsid sleep 1000 & echo $! > " + pidFile + ";"} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- sh(script+": > "+fifo+"; sleep 1000", time.Hour, &log).Notify(ctx, someChanges) }()
		os.ReadFile(fifo) // returns once the command runs
		cancel()
		began := time.Now()
		if err := <-ended; err == nil {
			t.Error("no error for a killed command")
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%q ended after %v", script, took)
		}
	}
	if pid := readNumber(t, pidFile); unix.Kill(pid, unix.SIGKILL) != nil {
		t.Log("setsid did not leave the group in time") // so the kill of the group ended it
	}
}

// readNumber returns the PID in a file. It rejects 0, with which the test would kill its
// own process group.
func readNumber(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 2 {
		t.Fatalf("%q is not a PID", text)
	}
	return pid
}
