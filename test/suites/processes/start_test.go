//go:build programs

package processes

import (
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestHUP_start measures how long SIGHUP can end a starting sidecar. The Go runtime handles
// signals before any code of the program runs. It ends the process by the signal, or with exit
// code 2 if the process is PID 1, whose default signals the kernel discards. Nothing is lost,
// and the kubelet starts the sidecar again.
func TestHUP_start(t *testing.T) {
	for name, pod := range map[string]struct {
		new func(testing.TB, st.Env) *podtest.Pod
		end string // the only permitted end
	}{
		"shared namespace": {podtest.New, "signal: hangup"},
		"PID 1":            {podtest.NewAlone, "exit status 2"},
	} {
		t.Run(name, func(t *testing.T) {
			p, last := pod.new(t, nil), "never"
			for delay := time.Duration(0); delay <= 80*time.Millisecond; delay += 4 * time.Millisecond {
				run := p.Start(nil)
				<-time.After(delay)
				if err := run.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				select {
				case <-run.Done():
					last = delay.String()
					if got := run.State(); got != pod.end {
						t.Errorf("%v: %s, want %s", delay, got, pod.end)
					}
					run = p.Start(nil)
				case <-time.After(100 * time.Millisecond):
				}
				run.WaitLog("watch connected")
				run.Stop()
			}
			t.Logf("the last delay after which SIGHUP ended a sidecar: %s", last)
		})
	}
}
