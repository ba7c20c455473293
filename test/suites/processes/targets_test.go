//go:build programs

package processes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const cannot = "cannot notify the app"

// times waits until a log contains text n times.
func times(t testing.TB, log *testsupport.Log, text string, n int) {
	t.Helper()
	testsupport.Eventually(t, text, func() error {
		if got := strings.Count(log.String(), text); got < n {
			return fmt.Errorf("%d times, want %d", got, n)
		}
		return nil
	})
}

// startTarget starts the C program under a name.
func startTarget(p *podtest.Pod, name, mode string) *podtest.Program {
	p.T.Helper()
	g := p.StartProgram(podtest.Called(p.T, podtest.Target(p.T), name), mode, p.Value(),
		testsupport.MemoryDir(p.T)+"/pid", "0")
	g.WaitReady("ready")
	return g
}

func neverNotified(t testing.TB, g *podtest.Program) {
	t.Helper()
	if got := g.Notified(); got != -1 {
		t.Errorf("notified of %d, want never", got)
	}
	g.CheckNoneDied()
}

// TestHandlers_unhandledSignal: the sidecar sends no signal if it can see the signal would
// kill the program or be lost.
func TestHandlers_unhandledSignal(t *testing.T) {
	for _, test := range []struct {
		mode, check, warning string // no warning: it is notified
	}{
		{"handler", "true", ""},
		{"sigwait", "false", ""},
		{"sigwait", "true", "has no handler for SIGHUP"},
		{"ignore", "true", "ignores SIGHUP"},
		{"none", "true", "has no handler for SIGHUP"},
	} {
		t.Run(test.mode+" "+test.check, func(t *testing.T) {
			t.Parallel()
			p := podtest.New(
				t,
				st.Env{
					"SECRETSYNC_PROCESS":         "c-target",
					"SECRETSYNC_SIGNAL_CHECK":    test.check,
					"SECRETSYNC_PROCESS_MIN_AGE": "100ms",
				},
			)
			r := p.Start(nil)
			r.WaitReady()
			g := startTarget(p, "c-target", test.mode)
			n := p.MustRotate()
			if test.warning == "" {
				g.WaitNotified(n)
				g.CheckNoneDied()
				return
			}
			times(t, r.Log, cannot, 3)
			if err := podtest.LogContains(r.Log, test.warning); err != nil ||
				strings.Count(r.Log.String(), `"WARN","msg":"`+cannot) != 1 {
				t.Errorf("want one warning with %q", test.warning)
			}
			neverNotified(t, g)
		})
	}
}

// TestTarget_twoProcesses: two apps with the same name are an error, which lists both, until
// one of them ends.
func TestTarget_twoProcesses(t *testing.T) {
	t.Parallel()
	p := podtest.New(t, st.Env{"SECRETSYNC_PROCESS": "twin", "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	r := p.Start(nil)
	r.WaitReady()
	one, two := startTarget(p, "twin", "handler"), startTarget(p, "twin", "handler")
	n := p.MustRotate()
	r.WaitLog("2 unrelated processes are named")
	for _, g := range []*podtest.Program{one, two} {
		r.WaitLog(fmt.Sprintf("pid %d (twin; parent 0", g.Inner()))
		neverNotified(t, g)
	}
	one.Kill()
	two.WaitNotified(n)
}

// TestTarget_execProbe: a probe of the kubelet runs the app's program for a moment.
func TestTarget_execProbe(t *testing.T) {
	t.Parallel()
	p := podtest.New(t, st.Env{"SECRETSYNC_PROCESS": "probed", "SECRETSYNC_PROCESS_MIN_AGE": "3s"})
	p.Start(nil).WaitReady()
	g := startTarget(p, "probed", "handler")
	g.WaitNotified(p.MustRotate()) // so it is old now
	for range 5 {
		probe := startTarget(p, "probed", "handler")
		g.WaitNotified(p.MustRotate())
		neverNotified(t, probe)
		probe.Kill()
	}
}

// TestTarget_sidecarItself: the sidecar never signals itself, but it signals an app with the
// same name.
func TestTarget_sidecarItself(t *testing.T) {
	t.Parallel()
	p := podtest.New(t, st.Env{"SECRETSYNC_PROCESS": "secret-sync", "SECRETSYNC_PROCESS_MIN_AGE": "100ms"})
	r := p.Start(nil)
	r.WaitReady()
	n := p.MustRotate()
	r.WaitLog("no process is named")
	startTarget(p, "secret-sync", "handler").WaitNotified(n)
	r.Stop()
}

// TestTarget_pause: PID 1 of a shared PID namespace is the sandbox and is never signaled,
// because a signal might end the whole Pod.
func TestTarget_pause(t *testing.T) {
	t.Parallel()
	p := podtest.New(t, st.Env{"SECRETSYNC_PROCESS": "pause", "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	r := p.Start(nil)
	r.WaitReady()
	n := p.MustRotate()
	times(t, r.Log, cannot, 3)
	r.WaitLog(`no process is named \"pause\"`)
	startTarget(p, "pause", "handler").WaitNotified(n) // an app with the same name
	if err := podtest.LogContains(p.FirstLog, "notified"); err == nil {
		t.Error("PID 1 was signaled")
	}
}

// TestReap_orphans: as PID 1 of a container, the sidecar reaps the processes of its commands.
func TestReap_orphans(t *testing.T) {
	t.Parallel()
	p := podtest.NewAlone(t, st.Env{"SECRETSYNC_NOTIFY_FIRST": "true"})
	p.Env["SECRETSYNC_EXEC"] = fmt.Sprintf("[%q, %q]", podtest.CompileGo(t, "receiver"), "orphans")
	r := p.Start(nil)
	r.WaitReady()
	for n := 1; n <= 5; n++ {
		p.MustRotate()
		times(t, r.Log, "notified the app", n)
	}
	began := time.Now()
	testsupport.Eventually(t, "no orphans", func() error { // each command has left two processes behind
		if left := podtest.Beside(r.PID()); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	t.Logf("all reaped after %v", time.Since(began).Round(time.Millisecond))
	r.Stop()
}
