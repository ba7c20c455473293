package process

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/wake"
)

// reapGrace is the time for which a zombie is left to the goroutine waiting for it.
const reapGrace = 2 * time.Second

// Reap reaps the processes left behind by commands, until ctx is done. It is intended for
// PID 1 of a container, which inherits every orphan.
//
// Reap must not reap a child of os/exec (a command, a credential plugin of the Kubernetes
// client), because its exit status would be lost. A goroutine waits for such a child,
// which is a zombie for a short time only. Reap therefore reaps a process only if it is
// still a zombie after reapGrace.
func Reap(ctx context.Context) {
	ended := make(chan os.Signal, 1) // stores a signal that arrives during the loop
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-ended:
		}
		zombies := zombieChildren()
		if wake.Sleep(ctx, reapGrace); ctx.Err() != nil {
			return
		}
		for _, zombie := range zombies {
			zombie.Wait() // does not block: the pidfd refers to an ended process, reaped or not
		}
	}
}

func zombieChildren() (found []*os.Process) {
	all, _ := systemProc.all() // after an error, the next signal tries again
	for _, p := range all {
		if p.zombie && p.ppid == os.Getpid() {
			if zombie, err := os.FindProcess(p.pid); err == nil {
				found = append(found, zombie)
			}
		}
	}
	return found
}
