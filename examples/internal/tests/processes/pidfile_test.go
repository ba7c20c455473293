//go:build programs

package programs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// place renames a file with a text to its path.
func place(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// The life of a PID file, in a folder that is not there at first. What a waiting
// notification waits for is seen at once and not at the next try.
func TestPIDFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(st.Volume(t), "run", "app")
	path := filepath.Join(dir, "pid")
	p := newPod(t, st.Env{"SECRETSYNC_PID_FILE": path, "SECRETSYNC_PROCESS_MIN_AGE": "100ms"})
	r := p.Start(nil)
	r.WaitReady()
	g := p.startTarget("c-target", "handler")
	gone := p.startTarget("gone", "handler")
	stale := gone.inner()
	gone.Kill()

	n := p.mustRotate()
	times(t, r.Log, cannot, 5) // the next try is 6 s later at least
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	place(t, path, fmt.Sprintf("  %d\nmore lines\n", g.inner()))
	g.waitNotified(n)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("notified %v after the file appeared, want at once", took)
	}
	for text, reason := range map[string]string{
		"":                                      "is empty",
		"\n":                                    "is empty",
		"x":                                     "does not begin with a number",
		"1\n":                                   "is not a number above 1",
		"-1\n":                                  "is not a number above 1",
		fmt.Sprintln(stale):                     "there is no process",
		fmt.Sprintln(p.sidecarPID()):            "is this process",
		strings.Repeat("12345\n", 1<<10) + "\n": "it is no PID file",
	} {
		p.refuses(r, g, path, text, reason)
	}
	p.checkNoneDied(g)
}

// refuses puts a text into the PID file: nobody is notified, for this reason, until
// the right number is there.
func (p *pod) refuses(r *st.Run, g *program, path, text, reason string) {
	p.t.Helper()
	r.Mark()
	place(p.t, path, text)
	n := p.mustRotate()
	r.WaitLog(reason)
	if got := g.notified(); got >= n {
		p.t.Errorf("%.10q: notified of %d", text, got)
	}
	place(p.t, path, fmt.Sprint(g.inner())) // without a newline
	g.waitNotified(n)
}

func (p *pod) sidecarPID() int {
	for _, q := range p.processes() {
		if q.comm == "secret-sync" {
			return q.pid
		}
	}
	p.t.Fatal("no sidecar in the pod")
	return 0
}
