package notifier

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// started has the children of Exec, which Wait reaps. Its lock is held over a
// start, so that the reaper sees no child that is not in it yet.
var started = struct {
	sync.Mutex
	pids map[int]bool
}{pids: map[int]bool{}}

// run is cmd.Run for a process that may be a reaper.
func run(cmd *exec.Cmd) error {
	started.Lock()
	err := cmd.Start()
	if err == nil {
		started.pids[cmd.Process.Pid] = true
	}
	started.Unlock()
	if err != nil {
		return err
	}
	err = cmd.Wait()
	// From here on the number may be that of an orphan.
	started.Lock()
	delete(started.pids, cmd.Process.Pid)
	started.Unlock()
	return err
}

// reapGrace is how long a zombie is left for somebody to wait for it.
const reapGrace = 2 * time.Second

// Reap reaps, until ctx is done, what commands leave behind: for a process that
// is PID 1 of its container, and so inherits every orphan in it.
//
// It never waits for "any child", which would take os/exec's own away and turn
// their success into ECHILD. It waits for the number of a zombie that was one at
// two looks, reapGrace apart, and is no child of Exec: somebody else's os/exec
// (a credential plugin of the Kubernetes client) waits at once and is done by
// then.
func Reap(ctx context.Context) {
	reap(ctx, procfs{root: "/proc", uptime: uptime}, reapGrace)
}

func reap(ctx context.Context, proc procfs, grace time.Duration) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	seen := map[int]time.Duration{}
	for ctx.Err() == nil {
		if seen = reapOnce(proc, seen); len(seen) > 0 {
			sleep(ctx, grace)
			continue
		}
		select {
		case <-ctx.Done():
		case <-ended:
		}
	}
}

// reapOnce reaps the orphans in seen (number → start time) and returns those
// that it sees for the first time.
func reapOnce(proc procfs, seen map[int]time.Duration) map[int]time.Duration {
	started.Lock()
	defer started.Unlock()
	first := map[int]time.Duration{}
	all, _ := proc.all() // none: at the next signal
	for _, p := range all {
		if !p.zombie || p.ppid != os.Getpid() || started.pids[p.pid] {
			continue
		}
		if start, ok := seen[p.pid]; !ok || start != p.start {
			first[p.pid] = p.start
			continue
		}
		var status syscall.WaitStatus
		syscall.Wait4(p.pid, &status, syscall.WNOHANG, nil)
	}
	return first
}
