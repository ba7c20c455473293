package process

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// reapGrace is how long a zombie is left to whoever waits for it.
const reapGrace = 2 * time.Second

// Reap reaps, until ctx is done, what commands leave behind: for a process that
// is PID 1 of its container, and so inherits every orphan in it.
//
// It must not take a child of os/exec (an exec target, a credential plugin of the
// Kubernetes client), whose exit status would be lost. Such a child has somebody
// who waits for it and is no zombie for long; so only what is still one after
// reapGrace is reaped.
func Reap(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended: // the channel keeps one for what ends during the rest of the loop
		}
		zombies := zombieChildren()
		select {
		case <-ctx.Done():
			return
		case <-time.After(reapGrace):
		}
		for _, zombie := range zombies {
			zombie.Wait() // does not block: the pidfd is of one that has ended, reaped or not
		}
	}
}

func zombieChildren() (found []*os.Process) {
	all, _ := systemProc.all() // none: at the next signal
	for _, p := range all {
		if p.zombie && p.ppid == os.Getpid() {
			if zombie, err := os.FindProcess(p.pid); err == nil {
				found = append(found, zombie)
			}
		}
	}
	return found
}
