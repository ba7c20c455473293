package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestRun_reapsAsPID1: as PID 1 of a container, the sidecar inherits the processes that a command leaves behind. It
// reaps them, otherwise they remain as zombies and exhaust the PIDs of the Pod.
func TestRun_reapsAsPID1(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a PID namespace needs root")
	}
	server := httptest.NewServer(&api{})
	t.Cleanup(server.CloseClientConnections)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := newCommand(t, server.URL, testsupport.MemoryDir(t), "SECRETSYNC_NOTIFY_FIRST=true",
		`SECRETSYNC_EXEC=["/bin/sh", "-c", "read line < `+fifo+` > /dev/null 2>&1 & exit 0"]`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	p := startCommand(t, cmd)
	p.waitLog("notified the app")
	input, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns once the process left behind reads
	if err != nil {
		t.Fatal(err)
	}
	if got := children(t, cmd.Process.Pid); len(got) != 1 {
		t.Errorf("the sidecar inherited %q, want a single process", got)
	}
	input.Close()
	eventually(t, "no child", func() bool { return len(children(t, cmd.Process.Pid)) == 0 })
}

// children returns the lines of /proc/PID/stat of the children of a process, with zombies.
func children(t *testing.T, parent int) (lines []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file) // the process may have ended
		_, rest, _ := strings.Cut(string(line), ") ")
		var state string
		var ppid int
		if _, err := fmt.Sscan(rest, &state, &ppid); err == nil && ppid == parent {
			lines = append(lines, string(line))
		}
	}
	return lines
}
