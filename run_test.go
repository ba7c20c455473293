package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// startWithStderr runs secret-sync with a given standard error.
func startWithStderr(t *testing.T, server, volume string, stderr *os.File, env ...string) *exec.Cmd {
	t.Helper()
	cmd := newCommand(t, server, volume, env...)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// pipe returns both ends of a pipe. Its buffer is full if full is set.
func pipe(t *testing.T, full bool) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	if full {
		_ = w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("filling the pipe: %v", err)
		}
	}
	return r, w
}

// wantEnd sends SIGTERM. The process must end with the exit code. Its limits add up to less than a
// second; the test adds time, because a loaded machine runs the process late.
func wantEnd(t *testing.T, cmd *exec.Cmd, code int) {
	t.Helper()
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	kill.Stop()
	if took, limit := time.Since(began), exitLimit+flushLimit; limit >= time.Second || took > limit+5*time.Second {
		t.Errorf("the process ended %v after SIGTERM, its limits are %v, want a second at most", took, limit)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d after SIGTERM, want %d (%v)", got, code, cmd.ProcessState)
	}
}

// TestRun_blockedLog: while nobody reads standard error, the sidecar publishes, counts the lost
// lines, and ends on SIGTERM.
func TestRun_blockedLog(t *testing.T) {
	server := httptest.NewServer(&api{changing: true})
	t.Cleanup(server.CloseClientConnections)
	volume, addr := testsupport.MemoryDir(t), freeAddr()
	_, stderr := pipe(t, true)
	cmd := startWithStderr(t, server.URL, volume, stderr, "SECRETSYNC_HTTP_ADDR="+addr)
	eventually(t, "a file", func() bool { return exists(filepath.Join(volume, "db", "password")) })
	// Each publish is a line. Their number fills the buffer.
	eventually(t, "lost lines", func() bool { return metric(t, addr, "secretsync_log_lines_lost_total") > 0 })
	wantEnd(t, cmd, 0)
}

// TestRun_closedStderr: a closed standard error does not kill the sidecar by SIGPIPE.
func TestRun_closedStderr(t *testing.T) {
	server := httptest.NewServer(&api{})
	t.Cleanup(server.CloseClientConnections)
	volume, addr := t.TempDir(), freeAddr()
	r, stderr := pipe(t, false)
	r.Close()
	cmd := startWithStderr(t, server.URL, volume, stderr, "SECRETSYNC_HTTP_ADDR="+addr)
	eventually(t, "a file", func() bool { return exists(filepath.Join(volume, "db", "password")) })
	eventually(t, "lost lines", func() bool { return metric(t, addr, "secretsync_log_lines_lost_total") > 0 })
	wantEnd(t, cmd, 0)
}

// TestRun_termWhileBlocked: SIGTERM ends the process although an operation never returns. Here
// the process opens a named pipe without a writer. A one-shot run has not done its job.
func TestRun_termWhileBlocked(t *testing.T) {
	for oneShot, code := range map[string]int{"false": 0, "true": 1} {
		fifo := filepath.Join(t.TempDir(), "kubeconfig")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr := pipe(t, true)
		cmd := startWithStderr(t, "", t.TempDir(), stderr, "KUBECONFIG="+fifo, "SECRETSYNC_ONE_SHOT="+oneShot)
		eventually(t, "a reader of the pipe", func() bool {
			writer, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
			if err == nil {
				t.Cleanup(func() { writer.Close() })
			}
			return err == nil
		})
		wantEnd(t, cmd, code)
	}
}

// TestRun_logOutput: SECRETSYNC_LOG_OUTPUT selects the stream of the log.
func TestRun_logOutput(t *testing.T) {
	for output, want := range map[string][2]bool{"stdout": {true, false}, "stderr": {false, true}} {
		cmd := newCommand(t, "http://127.0.0.1:1", t.TempDir(), "SECRETSYNC_LOG_OUTPUT="+output)
		var stdout, stderr testsupport.Log
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started := func() [2]bool {
			return [2]bool{stdout.Count(`"started"`) > 0, stderr.Count(`"started"`) > 0}
		}
		testsupport.EventuallyWithin(t, patience, "the start", func() error {
			if started() == [2]bool{} {
				return errors.New("no line reports it")
			}
			return nil
		})
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if started := started(); started != want {
			t.Errorf("%s: the log is in stdout and stderr: %v, want %v", output, started, want)
		}
	}
}

// TestRun_undumpable: another process with the same UID must not read the memory and the
// environment of secret-sync. The kernel gives /proc/PID of such a process to root.
func TestRun_undumpable(t *testing.T) {
	cmd := newCommand(t, "http://127.0.0.1:1", worldDir(t))
	uid := os.Getuid()
	if uid == 0 {
		uid = 65534
		cmd.Path = filepath.Join(worldDir(t), "secret-sync")
		program, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = os.WriteFile(cmd.Path, program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	p := startCommand(t, cmd)
	p.waitLog(`"started"`)
	var stat unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid), &stat); err != nil {
		t.Fatal(err)
	}
	if int(stat.Uid) == uid {
		t.Errorf("/proc/PID/environ belongs to UID %d: the process is dumpable", stat.Uid)
	}
}

// worldDir returns a directory that every UID can use.
func worldDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// freeAddr returns a loopback address on which nothing listens.
func freeAddr() string {
	server := httptest.NewServer(nil)
	defer server.Close()
	return server.Listener.Addr().String()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// metric scrapes a metric without labels. It returns 0 while the server is down.
func metric(t *testing.T, addr, name string) (value float64) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(body), "\n"+name+" ")
	if _, err := fmt.Sscan(rest, &value); err != nil {
		t.Errorf("metric %s: %v", name, err)
	}
	return value
}
