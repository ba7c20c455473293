package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestReap runs itself as a process that inherits orphans, like PID 1 of a container.
func TestReap(t *testing.T) {
	if os.Getenv("EXEC_TEST_REAPER") != "" {
		testReaper(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestReap$", "-test.v")
	cmd.Env = append(os.Environ(), "EXEC_TEST_REAPER=1", "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "reaped all orphans") {
		t.Errorf("the reaper: %v\n%s", err, out)
	}
}

func testReaper(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { Reap(ctx); close(ended) }()
	reapDuringCommands(t)
	reapThrottled(t)
	cancel()
	<-ended
	t.Log("reaped all orphans")
}

// reapDuringCommands runs commands that leave orphans behind. If a command lost its exit status, Notify
// would fail with ECHILD.
func reapDuringCommands(t *testing.T) {
	for range 50 {
		log := new(testsupport.Log)
		if err := sh("/bin/true & /bin/true & exit 0", patience, log).Notify(t.Context(), someChanges); err != nil {
			t.Fatal(err)
		}
	}
	testsupport.EventuallyWithin(t, patience, "the end of the zombies", func() error {
		if n := zombies(t); n > 0 {
			return fmt.Errorf("%d remain", n)
		}
		return nil
	})
}

// reapThrottled: a throttled process may wait for its command long after the command has ended. However
// late it is, the command keeps its exit status.
func reapThrottled(t *testing.T) {
	for range 20 {
		running.RLock() // as in Notify
		child := exec.Command("/bin/sh", "-c", "exit 3")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, child.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatalf("the child was reaped before Wait: %v", err)
		}
		testsupport.EventuallyWithin(t, patience, "the reaper to wait for the command", func() error {
			if running.TryRLock() { // fails once the reaper waits for the lock
				running.RUnlock()
				return errors.New("it does not")
			}
			return nil
		})
		if err := child.Wait(); child.ProcessState == nil || child.ProcessState.ExitCode() != 3 {
			t.Fatalf("the command ended with %v, want exit status 3", err)
		}
		running.RUnlock()
	}
}

// zombies returns the number of the zombie children of this process.
func zombies(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		stat, _ := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if strings.Contains(string(stat), fmt.Sprintf(") Z %d ", os.Getpid())) {
			n++
		}
	}
	return n
}

// TestReap_commandHoldsTheLock: Reap must wait until Notify has the exit status of its command.
func TestReap_commandHoldsTheLock(t *testing.T) {
	fifo := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- sh("read line < "+fifo, patience, new(testsupport.Log)).Notify(t.Context(), someChanges)
	}()
	input, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns once the command runs
	if err != nil {
		t.Fatal(err)
	}
	if running.TryLock() {
		running.Unlock()
		t.Error("Reap could reap the command")
	}
	fmt.Fprintln(input, "end")
	if err := errors.Join(input.Close(), <-ended); err != nil {
		t.Error(err)
	}
}
