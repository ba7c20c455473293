package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/notifier/exec"
)

// TestReap: a process that inherits orphans, like PID 1 of a container, reaps them. It
// does not reap the children of os/exec.
func TestReap(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(self)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", helperMode+"=reaper")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "fine" {
		t.Errorf("the reaper: %v\n%s", err, out)
	}
}

func reaperMain() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { Reap(ctx); close(ended) }()

	for range 50 {
		// Each command leaves an orphan behind. If its exit code were lost, Notify would fail with ECHILD.
		command := exec.Target{
			Command: []string{"/bin/sh", "-c", "/bin/true & exit 0"}, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
		}
		if err := command.Notify(ctx, notifier.Changes{}); err != nil {
			fmt.Println("exec:", err)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(zombieChildren()) > 0 {
		if time.Now().After(deadline) {
			fmt.Println("zombies:", len(zombieChildren()))
			break
		}
		time.Sleep(time.Millisecond)
	}
	// Each child is a zombie for a moment, before Wait is called.
	for range 20 {
		child := osexec.Command("/bin/sh", "-c", "exit 3")
		child.Start()
		var info unix.Siginfo
		unix.Waitid(unix.P_PID, child.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		zombieChildren() // takes as long as the search of the reaper
		if child.Wait(); child.ProcessState == nil || child.ProcessState.ExitCode() != 3 {
			fmt.Println("the reaper reaped a child of os/exec")
		}
	}
	cancel()
	<-ended
	fmt.Println("fine")
}
