package childprocess

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

func start(t *testing.T, log *testsupport.Log, script string) *Process {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// TestExitCode_bothStreams: the log contains the output of both streams.
func TestExitCode_bothStreams(t *testing.T) {
	log := &testsupport.Log{}
	if got := start(t, log, "echo out; echo err >&2; exit 3").ExitCode(); got != 3 {
		t.Errorf("exit code %d, want 3", got)
	}
	if got := log.String(); got != "out\nerr\n" {
		t.Errorf("log %q, want both streams complete", got)
	}
	if _, err := Start(exec.Command("/no/such/program")); err == nil {
		t.Error("a missing program was started")
	}
}

// TestStop_ignoredSignal: if a program ignores SIGTERM, it is killed after the grace period.
func TestStop_ignoredSignal(t *testing.T) {
	for script, want := range map[string]bool{
		"trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done": true,
		"trap '' TERM; echo ready; while :; do sleep 0.01; done":       false,
	} {
		log := &testsupport.Log{}
		p := start(t, log, script)
		testsupport.Eventually(t, "the trap", func() error {
			if log.Count("ready") == 0 {
				return errors.New("not ready")
			}
			return nil
		})
		if got := p.Stop(500 * time.Millisecond); got != want {
			t.Errorf("%s: ended without being killed: %v, want %v", script, got, want)
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("signal a process that ended: %v", err)
		}
	}
}
