package childprocess

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, log *Log, script string) *Process {
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

func TestExitCode(t *testing.T) {
	log := &Log{}
	if got := start(t, log, "echo out; echo err >&2; exit 3").ExitCode(); got != 3 {
		t.Errorf("exit code %d, want 3", got)
	}
	if got := log.String(); got != "out\nerr\n" {
		t.Errorf("log %q, want both streams whole", got)
	}
	if _, err := Start(exec.Command("/no/such/program")); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestStop(t *testing.T) {
	for script, want := range map[string]bool{
		"trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done": true,
		"trap '' TERM; echo ready; while :; do sleep 0.01; done":       false,
	} {
		log := &Log{}
		changed := log.Changed()
		p := start(t, log, script)
		<-changed // the trap is set
		if got := p.Stop(500 * time.Millisecond); got != want {
			t.Errorf("%s: ended by itself %v, want %v", script, got, want)
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("signal a process that has ended: %v", err)
		}
	}
}

func TestLogLines(t *testing.T) {
	var lines []string
	log := &Log{Line: func(s string) { lines = append(lines, s) }}
	for _, part := range []string{"a", "b\nc\n", "\nd"} {
		log.Write([]byte(part))
	}
	if want := []string{"ab", "c", ""}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
	if got := log.Tail(2); got != "\nd" {
		t.Errorf("tail %q, want the last two lines", got)
	}
}
