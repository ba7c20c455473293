//go:build programs

package programs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

const cannot = "cannot notify the app"

// times waits until a log has a text as often as that.
func times(t *testing.T, log *childprocess.Log, text string, n int) {
	t.Helper()
	st.Until(t, text, func() error {
		if got := strings.Count(log.String(), text); got < n {
			return fmt.Errorf("%d times, want %d", got, n)
		}
		return nil
	})
}

// startTarget starts the C program under a name.
func (p *pod) startTarget(name, mode string) *program {
	p.t.Helper()
	g := p.start(called(p.t, compile(p.t, "target"), name), mode, p.value(), st.Volume(p.t)+"/pid", "0")
	g.waitReady("ready")
	return g
}

func (g *program) waitNotified(n int64) {
	g.pod.t.Helper()
	st.UntilIn(g.pod.t, notifiedWithin, "notified", func() error { return g.checkNotified(n) })
}

func (g *program) neverNotified() {
	g.pod.t.Helper()
	if got := g.notified(); got != -1 {
		g.pod.t.Errorf("notified of %d, want never", got)
	}
	g.pod.checkNoneDied(g)
}

// What the sidecar can see of a program that would be killed by the signal, or
// would lose it, keeps it from sending it.
func TestHandlers(t *testing.T) {
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
			p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "c-target", "SECRETSYNC_SIGNAL_CHECK": test.check, "SECRETSYNC_PROCESS_MIN_AGE": "100ms"})
			r := p.Start(nil)
			r.WaitReady()
			g := p.startTarget("c-target", test.mode)
			n := p.mustRotate()
			if test.warning == "" {
				g.waitNotified(n)
				p.checkNoneDied(g)
				return
			}
			times(t, r.Log, cannot, 3)
			if err := says(r.Log, test.warning); err != nil || strings.Count(r.Log.String(), `"WARN","msg":"`+cannot) != 1 {
				t.Errorf("want one warning with %q", test.warning)
			}
			g.neverNotified()
		})
	}
}

// Two apps of one name: an error that lists both, until one is gone.
func TestSeveral(t *testing.T) {
	t.Parallel()
	p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "twin", "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	r := p.Start(nil)
	r.WaitReady()
	one, two := p.startTarget("twin", "handler"), p.startTarget("twin", "handler")
	n := p.mustRotate()
	r.WaitLog("2 unrelated processes are named")
	for _, g := range []*program{one, two} {
		r.WaitLog(fmt.Sprintf("pid %d (twin, parent 0", g.inner()))
		g.neverNotified()
	}
	one.Kill()
	two.waitNotified(n)
}

// A probe of the kubelet runs the app's own program for a moment.
func TestProbe(t *testing.T) {
	t.Parallel()
	p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "probed", "SECRETSYNC_PROCESS_MIN_AGE": "3s"})
	p.Start(nil).WaitReady()
	g := p.startTarget("probed", "handler")
	g.waitNotified(p.mustRotate()) // so it is old now
	for range 5 {
		probe := p.startTarget("probed", "handler")
		g.waitNotified(p.mustRotate())
		probe.neverNotified()
		probe.Kill()
	}
}

// The sidecar never signals itself, whatever it is asked for; an app of its name
// is another matter.
func TestNeverItself(t *testing.T) {
	t.Parallel()
	p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "secret-sync", "SECRETSYNC_PROCESS_MIN_AGE": "100ms"})
	r := p.Start(nil)
	r.WaitReady()
	n := p.mustRotate()
	r.WaitLog("no process is named")
	p.startTarget("secret-sync", "handler").waitNotified(n)
	r.Stop()
}

// PID 1 of a shared PID namespace is the sandbox's, which a signal might end, and
// all of the Pod with it.
func TestNeverPause(t *testing.T) {
	t.Parallel()
	p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "pause", "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	r := p.Start(nil)
	r.WaitReady()
	n := p.mustRotate()
	times(t, r.Log, cannot, 3)
	r.WaitLog(`no process is named \"pause\"`)
	p.startTarget("pause", "handler").waitNotified(n) // an app of that name
	if err := says(p.log, "notified"); err == nil {
		t.Error("PID 1 was signalled")
	}
}

// Commands that leave processes behind: PID 1 of a container has to reap them.
func TestReap(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_NOTIFY_FIRST": "true"})
	s.Env["SECRETSYNC_EXEC"] = fmt.Sprintf("[%q, %q]", compile(t, "receiver"), "orphans")
	p := &pod{Scene: s, t: t}
	p.Put("db", data(0))
	s.StartProcess = asFirst(compile(t, "pause"))
	r := s.Start(nil)
	r.WaitReady()
	for n := 1; n <= 5; n++ {
		p.mustRotate()
		times(t, r.Log, "notified the app", n)
	}
	zombies := func() (n int) {
		for _, q := range processesBeside(r.PID()) {
			if q.state == "Z" {
				n++
			}
		}
		return n
	}
	most, began := 0, time.Now()
	st.Until(t, "zombies", func() error {
		if most = max(most, zombies()); most == 0 {
			return fmt.Errorf("there are none to reap")
		}
		return nil
	})
	st.Until(t, "no zombies", func() error {
		most = max(most, zombies())
		if left := processesBeside(r.PID()); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	t.Logf("%d zombies at most, all reaped after %v", most, time.Since(began).Round(time.Millisecond))
	r.Stop()
}
