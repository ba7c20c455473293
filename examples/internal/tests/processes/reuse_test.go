//go:build programs

package programs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// startWithPID starts the C program with a number that must be free, or become so.
func (p *pod) startWithPID(inner int, name string) *program {
	p.t.Helper()
	path, reuse, file := called(p.t, compile(p.t, "target"), name), compile(p.t, "reuse"), st.Volume(p.t)+"/pid"
	var g *program
	st.Until(p.t, "the number is reused", func() error {
		g = p.startCommand(exec.Command(reuse, fmt.Sprint(inner), path, "handler", p.value(), file, "0"))
		for changed := g.log.Changed(); says(g.log, "ready") != nil; changed = g.log.Changed() {
			select {
			case <-g.Done():
				if g.ExitCode() != 99 {
					p.t.Fatalf("reuse: %s: %s", g.State(), g.log)
				}
				return fmt.Errorf("%d is not free", inner)
			case <-changed:
			}
		}
		return nil
	})
	return g
}

// TestReusedPID stops the sidecar (SIGSTOP) at a random moment of a notification,
// lets the app end and another program have its number, and continues it.
func TestReusedPID(t *testing.T) {
	t.Parallel()
	p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "reused", "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	first := p.startTarget("reused", "handler")
	inner := first.inner()
	first.Kill()
	// A look reads the app first and then all of these, so that there is time
	// between it and the signal.
	for range 60 {
		p.startTarget("crowd", "none")
	}
	s := p.Start(nil)
	s.WaitReady()
	r := random(t)
	fell := map[string]int{}
	for range number("PROGRAMS_REUSES", 20) {
		fell[p.reuseOnce(s, r, inner)]++
	}
	t.Logf("stopped: %v", fell)
	s.Stop()
}

// reuseOnce returns when the sidecar was stopped: before it looked for the app,
// between the look and the signal, or after the signal.
func (p *pod) reuseOnce(s *st.Run, r *rand.Rand, inner int) string {
	p.t.Helper()
	app := p.startWithPID(inner, "reused")
	mark := len(s.Log.String())
	n, rotated := p.n.Load()+1, make(chan error, 1)
	wait := upTo(r, 6*time.Millisecond)
	p.waitPublish(rotated, wait)
	p.signal(s, syscall.SIGSTOP)
	app.Kill()
	other := p.startWithPID(inner, "bystander")
	p.signal(s, syscall.SIGCONT)
	var log string
	st.UntilIn(p.t, notifiedWithin, "the sidecar goes on", func() error {
		if log = s.Log.String()[mark:]; strings.Contains(log, cannot) || strings.Contains(log, "notified the app") {
			return nil
		}
		return fmt.Errorf("neither notified nor not: %s", log)
	})
	if got := other.notified(); got != -1 {
		p.t.Errorf("a bystander was notified, the sidecar having been stopped after %v", wait)
	}
	other.Kill()
	if err := <-rotated; err != nil {
		p.t.Error(err)
	}
	if strings.Contains(log, "notified the app") {
		return "after the signal"
	}
	app = p.startTarget("reused", "handler")
	app.waitNotified(n)
	app.Kill()
	if strings.Contains(log, "ended before it could get") || strings.Contains(log, "was replaced while") {
		return "between look and signal"
	}
	return "before the look"
}

// waitPublish rotates, and waits until that is in the volume and then for so long,
// to the microsecond.
func (p *pod) waitPublish(rotated chan<- error, long time.Duration) {
	p.t.Helper()
	before := p.Generation()
	go func() { _, err := p.rotate(); rotated <- err }()
	for deadline := time.Now().Add(notifiedWithin); p.Generation() == before; {
		if time.Now().After(deadline) {
			p.t.Fatal("not published")
		}
	}
	for began := time.Now(); time.Since(began) < long; { // a timer is not as fine
	}
}

func (p *pod) signal(s *st.Run, sig syscall.Signal) {
	p.t.Helper()
	if err := s.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// A PID file that is left over, and whose number somebody else has now, who
// started long after it was written.
func TestReusedPIDFile(t *testing.T) {
	t.Parallel()
	path := st.Volume(t) + "/pid"
	p := newPod(t, st.Env{"SECRETSYNC_PID_FILE": path, "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	r := p.Start(nil)
	r.WaitReady()
	app := p.startTarget("app", "handler")
	inner := app.inner()
	place(t, path, fmt.Sprintln(inner))
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	app.Kill()
	other := p.startWithPID(inner, "bystander")
	p.mustRotate()
	times(t, r.Log, cannot, 3)
	r.WaitLog("the number was reused")
	other.neverNotified()
}
