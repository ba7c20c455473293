package sidecartest

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// A Run is a process of the sidecar.
type Run struct {
	*childprocess.Process
	Log   *testsupport.Log // both output streams
	scene *Scene
	mark  int // the length of the log at the last Mark
}

// Start starts the sidecar in the scene's environment with changes, which may be nil.
// If the sidecar still runs at the end of the test, it is killed.
func (s *Scene) Start(changes Env, args ...string) *Run {
	s.T.Helper()
	return s.StartAs(nil, changes, args...)
}

// StartAs is Start as another user. Only root may call it with a user.
func (s *Scene) StartAs(user *syscall.Credential, changes Env, args ...string) *Run {
	s.T.Helper()
	r := &Run{Log: &testsupport.Log{}, scene: s}
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

// Mark makes later calls of WaitLog ignore the log up to now.
func (r *Run) Mark() { r.mark = len(r.Log.String()) }

// WaitLog waits until the log contains text.
func (r *Run) WaitLog(text string) {
	r.scene.T.Helper()
	testsupport.Eventually(r.scene.T, fmt.Sprintf("%q in the log", text), func() error {
		ended := r.ended() // before the log is read
		if strings.Contains(r.Log.String()[r.mark:], text) {
			return nil
		}
		if ended {
			r.scene.T.Fatalf("log: no %q, and the sidecar ended: %s\n%s", text, r.State(), r.Log.Tail(20))
		}
		return errors.New("not logged")
	})
}

func (r *Run) ended() bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

// WaitExit waits for the end of the sidecar and checks its exit code. It fails the test
// if the sidecar still runs after the limit.
func (r *Run) WaitExit(want int, limit time.Duration) {
	r.scene.T.Helper()
	select {
	case <-r.Done():
		if got := r.ExitCode(); got != want {
			r.scene.T.Fatalf("exit code %d (%s), want %d\n%s", got, r.State(), want, r.Log.Tail(20))
		}
	case <-time.After(limit):
		r.scene.T.Fatalf("still running after %s, want exit code %d\n%s", limit, want, r.Log.Tail(20))
	}
}

// Stop sends SIGTERM. The sidecar must exit with code 0 within a second.
func (r *Run) Stop() {
	r.scene.T.Helper()
	if err := r.Signal(syscall.SIGTERM); err != nil {
		r.scene.T.Fatal(err)
	}
	r.WaitExit(0, time.Second)
}

// WaitReady waits until `secret-sync ready` succeeds.
func (r *Run) WaitReady() {
	r.scene.T.Helper()
	testsupport.Eventually(r.scene.T, "ready", func() error {
		select {
		case <-r.Done():
			return fmt.Errorf("the sidecar ended: %s", r.State())
		default:
			return r.scene.Ready()
		}
	})
}
