//go:build programs

package programs

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func gunicorn(t *testing.T, dir, addr string) []string {
	return []string{podtest.Need(t, "/usr/bin/gunicorn"), "--chdir", dir, "-b", addr, "-w", "2", "app:app"}
}

// TestGunicorn_successor: after USR2, the old master of gunicorn keeps running until it is ended.
// The sidecar signals its successor, which refuses to start another successor before that.
func TestGunicorn_successor(t *testing.T) {
	t.Parallel()
	p := podtest.New(t, st.Env{
		"SECRETSYNC_PROCESS": "gunicorn", "SECRETSYNC_SIGNAL": "USR2", "SECRETSYNC_PROCESS_MIN_AGE": "2s",
	})
	run := p.Start(nil)
	run.WaitReady()
	addr := childprocess.FreeAddr(t)
	g := p.StartCommand(webCommand(t, p, gunicorn(t, podtest.Testdata(t, "web"), addr)))
	g.Answer = func() string { return get(addr) }
	serves(t, g, 0)
	old := fmt.Sprintf(`"process":"%d (`, g.Inner())
	serves(t, g, p.MustRotate())
	run.WaitLog(old)
	run.Mark()
	p.MustRotate()
	run.WaitLog("notified the app")
	if strings.Contains(g.Log.String(), "Child exists") || strings.Count(run.Log.String(), old) != 1 {
		t.Errorf("the old master was signaled again:\n%s", run.Log)
	}
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-g.Done()
	n := p.MustRotate()
	testsupport.EventuallyWithin(t, podtest.NotifiedWithin, "the newest value", func() error {
		if got := g.Notified(); got != n {
			return fmt.Errorf("serves %d, want %d", got, n)
		}
		return nil
	})
}

func webCommand(t *testing.T, p *podtest.Pod, args []string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "VALUE="+p.Value(), "HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1")
	podtest.AsUser(t, cmd)
	return cmd
}

// serves waits until a request gets the value n.
func serves(t *testing.T, g *podtest.Program, n int64) {
	t.Helper()
	testsupport.EventuallyWithin(t, podtest.NotifiedWithin, "the newest value", func() error {
		if got := g.Notified(); got != n {
			return fmt.Errorf("serves %d, want %d\n%s", got, n, g.Log.Tail(5))
		}
		return nil
	})
}

func get(addr string) string {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}
