//go:build programs

package processes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestHUP_start: SIGHUP does not end a starting sidecar. The kernel discards the default signals of
// PID 1. Elsewhere, the sidecar ignores SIGHUP from its first instruction.
func TestHUP_start(t *testing.T) {
	for name, pod := range map[string]struct {
		new     func(testing.TB, st.Env) *podtest.Pod
		started func(pid int) bool
	}{
		"shared namespace": {podtest.New, func(pid int) bool { return runsSidecar(pid) && handlesHUP(pid) }},
		"PID 1":            {podtest.NewAlone, runsSidecar},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod.new(t, nil)
			for delay := time.Duration(0); delay < 40*time.Millisecond; delay += time.Millisecond {
				run := p.Start(nil)
				for !pod.started(run.PID()) {
					select {
					case <-run.Done():
						t.Fatal("the sidecar ended before SIGHUP: ", run.State())
					default:
					}
				}
				<-time.After(delay)
				if err := run.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				run.WaitLog("watch connected")
				run.Stop()
			}
		})
	}
}

// TestHUP_command: SIGHUP ends a command, unless its parent ignores the signal, as nohup does.
func TestHUP_command(t *testing.T) {
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	start := func() *st.Run {
		run := s.Start(nil, "wait", "--secret", "db", "--timeout", "1m")
		run.WaitLog("0 of 0 Pods")
		if err := run.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		return run
	}
	run := start()
	<-run.Done()
	if run.State() != "signal: hangup" {
		t.Errorf("got %s, want the end by SIGHUP", run.State())
	}
	s.StartProcess = belowNohup
	run = start()
	st.Throughout(t, 500*time.Millisecond, "the command runs", func() error {
		select {
		case <-run.Done():
			return errors.New(run.State())
		default:
			return nil
		}
	})
}

// belowNohup starts a program that ignores SIGHUP. This process must not ignore the signal itself: its other programs
// would too, and os/signal cannot undo Ignore.
func belowNohup(cmd *exec.Cmd) (*childprocess.Process, error) {
	cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	return childprocess.Start(cmd)
}

// runsSidecar reports whether the process has replaced the program of the harness.
func runsSidecar(pid int) bool {
	program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return filepath.Base(program) == "secret-sync"
}

// ignoredOrCaught finds an odd mask of signals: SIGHUP is signal 1.
var ignoredOrCaught = regexp.MustCompile(`Sig(Ign|Cgt):\t[0-9a-f]*[13579bdf]\n`)

func handlesHUP(pid int) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return ignoredOrCaught.Match(status)
}
