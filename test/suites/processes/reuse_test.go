//go:build programs

package processes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// startWithPID starts the C program with the given PID, which must be free or become free.
func startWithPID(p *podtest.Pod, inner int, name string) *podtest.Program {
	p.T.Helper()
	path, reuse, file := podtest.Called(
		p.T,
		podtest.Target(p.T),
		name,
	), podtest.CompileC(
		p.T,
		"reuse",
	), testsupport.MemoryDir(
		p.T,
	)+"/pid"
	var g *podtest.Program
	testsupport.Eventually(p.T, "the number is reused", func() error {
		g = p.StartCommand(exec.Command(reuse, fmt.Sprint(inner), path, "handler", p.Value(), file, "0"))
		for podtest.LogContains(g.Log, "ready") != nil {
			select {
			case <-g.Done():
				if g.ExitCode() != 99 {
					p.T.Fatalf("reuse: %s: %s", g.State(), g.Log)
				}
				return fmt.Errorf("%d is not free", inner)
			case <-time.After(time.Millisecond):
			}
		}
		return nil
	})
	return g
}

// TestSidecar_reusedPID stops the sidecar (SIGSTOP) at a random moment of a notification,
// lets the app end and another program have its number, and continues it.
func TestSidecar_reusedPID(t *testing.T) {
	t.Parallel()
	// The test kills the app after notifications, so an end must not stop the signals.
	p := podtest.New(t, st.Env{
		"SECRETSYNC_PROCESS": "reused", "SECRETSYNC_PROCESS_MIN_AGE": "0s", "SECRETSYNC_SIGNAL_EXIT_CHECK": "false",
	})
	first := startTarget(p, "reused", "handler")
	inner := first.Inner()
	first.Kill()
	// The sidecar reads the app first and then all these processes. This takes time, in which
	// the PID is reused before the signal.
	for range 60 {
		startTarget(p, "crowd", "none")
	}
	s := p.Start(nil)
	s.WaitReady()
	r := podtest.Random(t)
	fell := map[string]int{}
	for range podtest.Number("PROGRAMS_REUSES", 20) {
		fell[reuseOnce(p, s, r, inner)]++
	}
	t.Logf("stopped: %v", fell)
	s.Stop()
}

// reuseOnce returns when the sidecar was stopped: before it looked for the app,
// between the look and the signal, or after the signal.
func reuseOnce(p *podtest.Pod, s *st.Run, r *rand.Rand, inner int) string {
	p.T.Helper()
	app := startWithPID(p, inner, "reused")
	mark := len(s.Log.String())
	n, rotated := p.Last()+1, make(chan error, 1)
	wait := podtest.UpTo(r, 6*time.Millisecond)
	waitPublish(p, rotated, wait)
	signal(p, s, syscall.SIGSTOP)
	app.Kill()
	other := startWithPID(p, inner, "bystander")
	signal(p, s, syscall.SIGCONT)
	var log string
	testsupport.EventuallyWithin(p.T, podtest.NotifiedWithin, "the sidecar goes on", func() error {
		if log = s.Log.String()[mark:]; strings.Contains(log, cannot) || strings.Contains(log, "notified the app") {
			return nil
		}
		return fmt.Errorf("neither notified nor not: %s", log)
	})
	if got := other.Notified(); got != -1 {
		p.T.Errorf("a bystander was notified, the sidecar having been stopped after %v", wait)
	}
	other.Kill()
	if err := <-rotated; err != nil {
		p.T.Error(err)
	}
	if strings.Contains(log, "notified the app") {
		return "after the signal"
	}
	app = startTarget(p, "reused", "handler")
	app.WaitNotified(n)
	app.Kill()
	if strings.Contains(log, "ended before SIGHUP was sent") || strings.Contains(log, "ended or was replaced while") {
		return "between look and signal"
	}
	return "before the look"
}

// waitPublish rotates, waits for the publish, and then waits for the given time with a
// precision of a microsecond.
func waitPublish(p *podtest.Pod, rotated chan<- error, long time.Duration) {
	p.T.Helper()
	before := p.Generation()
	go func() { _, err := p.Rotate(); rotated <- err }()
	for deadline := time.Now().Add(podtest.NotifiedWithin); p.Generation() == before; {
		if time.Now().After(deadline) {
			p.T.Fatal("not published")
		}
	}
	for began := time.Now(); time.Since(began) < long; { // a timer is not as fine
	}
}

func signal(p *podtest.Pod, s *st.Run, sig syscall.Signal) {
	p.T.Helper()
	if err := s.Signal(sig); err != nil {
		p.T.Fatal(err)
	}
}

// TestPIDFile_reusedPID: the PID in an old file belongs to another process, which started
// long after the file was written.
func TestPIDFile_reusedPID(t *testing.T) {
	t.Parallel()
	path := testsupport.MemoryDir(t) + "/pid"
	p := podtest.New(t, st.Env{"SECRETSYNC_PID_FILE": path, "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	r := p.Start(nil)
	r.WaitReady()
	app := startTarget(p, "app", "handler")
	inner := app.Inner()
	place(t, path, fmt.Sprintln(inner))
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	app.Kill()
	other := startWithPID(p, inner, "bystander")
	p.MustRotate()
	times(t, r.Log, cannot, 3)
	r.WaitLog("the PID was reused")
	neverNotified(t, other)
}
