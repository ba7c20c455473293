package notifier

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process that inherits orphans, as PID 1 of a container does: they are
// reaped, and os/exec's own children are not taken from it.
func TestReap(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", helperMode+"=reaper")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "fine" {
		t.Errorf("the reaper says: %v\n%s", err, out)
	}
}

func reaperMain() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	proc := procfs{root: "/proc", uptime: uptime}
	go func() { reap(ctx, proc, 10*time.Millisecond); close(ended) }()

	for range 50 {
		// Each leaves an orphan, and has its exit code: ECHILD would be an error.
		command := NewExec(ExecOptions{Command: []string{"/bin/sh", "-c", "/bin/true & exit 0"}})
		if err := command.Tell(ctx, Changes{}); err != nil {
			fmt.Println("exec:", err)
		}
	}
	// A child that is a zombie for a while and ours.
	slow := exec.Command("/bin/sh", "-c", "exit 3")
	started.Lock()
	slow.Start()
	started.pids[slow.Process.Pid] = true
	started.Unlock()
	deadline := time.Now().Add(20 * time.Second)
	for zombies(proc) != 1 { // all but the registered one are reaped
		if time.Now().After(deadline) {
			fmt.Println("zombies:", zombies(proc))
			break
		}
		time.Sleep(time.Millisecond)
	}
	if slow.Wait(); slow.ProcessState == nil || slow.ProcessState.ExitCode() != 3 {
		fmt.Println("the child of os/exec was taken from it")
	}
	cancel()
	<-ended
	fmt.Println("fine")
}

func zombies(proc procfs) (n int) {
	all, _ := proc.all()
	for _, p := range all {
		if p.zombie && p.ppid == os.Getpid() {
			n++
		}
	}
	return n
}
