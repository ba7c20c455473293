//go:build programs

package processes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// place renames a file with a text to its path.
func place(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestPIDFile_lifetime creates, changes and removes a PID file, whose directory is missing at
// first. A pending notification notices each change at once, not at its next attempt.
func TestPIDFile_lifetime(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testsupport.MemoryDir(t), "run", "app")
	path := filepath.Join(dir, "pid")
	p := podtest.New(t, st.Env{"SECRETSYNC_PID_FILE": path, "SECRETSYNC_PROCESS_MIN_AGE": "100ms"})
	r := p.Start(nil)
	r.WaitReady()
	g := startTarget(p, "c-target", "handler")
	gone := startTarget(p, "gone", "handler")
	stale := gone.Inner()
	gone.Kill()

	n := p.MustRotate()
	times(t, r.Log, cannot, 5) // the next try is 6 s later at least
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	place(t, path, fmt.Sprintf("  %d\nmore lines\n", g.Inner()))
	g.WaitNotified(n)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("notified %v after the file appeared, want at once", took)
	}
	for text, reason := range map[string]string{
		"":                                      "does not begin with a number above 1",
		"\n":                                    "does not begin with a number above 1",
		"x":                                     "does not begin with a number above 1",
		"1\n":                                   "does not begin with a number above 1",
		"-1\n":                                  "does not begin with a number above 1",
		fmt.Sprintln(stale):                     "does not exist",
		fmt.Sprintln(sidecarPID(p)):             "is secret-sync itself",
		strings.Repeat("12345\n", 1<<10) + "\n": "not a regular file of at most 4096 bytes",
	} {
		refuses(p, r, g, path, text, reason)
	}
	g.CheckNoneDied()
}

// refuses puts a text into the PID file: nobody is notified, for this reason, until
// the right number is there.
func refuses(p *podtest.Pod, r *st.Run, g *podtest.Program, path, text, reason string) {
	p.T.Helper()
	r.Mark()
	place(p.T, path, text)
	n := p.MustRotate()
	r.WaitLog(reason)
	if got := g.Notified(); got >= n {
		p.T.Errorf("%.10q: notified of %d", text, got)
	}
	place(p.T, path, fmt.Sprint(g.Inner())) // without a newline
	g.WaitNotified(n)
}

func sidecarPID(p *podtest.Pod) int {
	for _, q := range p.Processes() {
		if q.Comm == "secret-sync" {
			return q.PID
		}
	}
	p.T.Fatal("no sidecar in the pod")
	return 0
}
