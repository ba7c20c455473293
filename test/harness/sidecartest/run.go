package sidecartest

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// Run is one process of the sidecar.
type Run struct {
	*childprocess.Process
	Log   *childprocess.Log // both streams
	scene *Scene
	mark  int
}

// Start starts the sidecar with changes to the scene's environment, nil for none.
// It is killed at the end of the test if it still runs.
func (s *Scene) Start(changes Env, args ...string) *Run {
	s.T.Helper()
	return s.StartAs(nil, changes, args...)
}

// StartAs starts it as another user, which only root may do.
func (s *Scene) StartAs(user *syscall.Credential, changes Env, args ...string) *Run {
	s.T.Helper()
	r := &Run{Log: &childprocess.Log{}, scene: s}
	cmd := exec.Command(binary, args...)
	cmd.Env = s.Env.list(changes)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = r.Log, r.Log
	if user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	}
	start := childprocess.Start
	if s.StartProcess != nil {
		start = s.StartProcess
	}
	p, err := start(cmd)
	if err != nil {
		s.T.Fatal(err)
	}
	r.Process = p
	s.T.Cleanup(func() {
		p.Kill()
		if s.T.Failed() {
			s.T.Logf("the sidecar's log:\n%s", r.Log.Tail(60))
		}
	})
	return r
}

// Mark makes the next WaitLog look at what is written from now on.
func (r *Run) Mark() { r.mark = len(r.Log.String()) }

// WaitLog waits until the log has text.
func (r *Run) WaitLog(text string) {
	r.scene.T.Helper()
	timeout := time.After(patience)
	for {
		changed := r.Log.Changed()
		if strings.Contains(r.Log.String()[r.mark:], text) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			r.scene.T.Fatalf("log: no %q within %s", text, patience)
		case <-r.Done():
			if !strings.Contains(r.Log.String()[r.mark:], text) {
				r.scene.T.Fatalf("log: no %q, and the sidecar ended: %s\n%s", text, r.State(), r.Log.Tail(20))
			}
			return
		}
	}
}

// WaitExit waits for the end and checks the code; it fails the test if the end
// does not come in time.
func (r *Run) WaitExit(want int, within time.Duration) {
	r.scene.T.Helper()
	select {
	case <-r.Done():
		if got := r.ExitCode(); got != want {
			r.scene.T.Fatalf("exit code %d (%s), want %d\n%s", got, r.State(), want, r.Log.Tail(20))
		}
	case <-time.After(within):
		r.scene.T.Fatalf("still running after %s, want exit code %d\n%s", within, want, r.Log.Tail(20))
	}
}

// Stop sends SIGTERM and checks that it ends with 0 within a second.
func (r *Run) Stop() {
	r.scene.T.Helper()
	if err := r.Signal(syscall.SIGTERM); err != nil {
		r.scene.T.Fatal(err)
	}
	r.WaitExit(0, time.Second)
}

// WaitReady waits until `secret-sync ready` says so.
func (r *Run) WaitReady() {
	r.scene.T.Helper()
	Until(r.scene.T, "ready", func() error {
		select {
		case <-r.Done():
			return fmt.Errorf("the sidecar ended: %s", r.State())
		default:
			return r.scene.Ready()
		}
	})
}
