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

	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A webServer is a program that reads the value when it loads its app, and serves it.
type webServer struct {
	name    string // of the subtest
	process string
	signal  string
	command func(t *testing.T, dir, addr string) []string
}

var webServers = []webServer{
	{"gunicorn HUP", "gunicorn", "HUP", gunicorn},
	{"unicorn HUP", "unicorn", "HUP", unicorn},
	{"unicorn USR2", "unicorn", "USR2", unicorn},
	{"puma USR2", "puma", "USR2", puma("0")},
	{"puma cluster, 1 worker", "puma", "USR1", puma("1")},
	{"puma cluster, 2 workers", "puma", "USR1", puma("2")},
	{"starman", "starman", "HUP", starman},
	{"uwsgi", "uwsgi", "HUP", uwsgi},
}

func gunicorn(t *testing.T, dir, addr string) []string {
	return []string{podtest.Need(t, "/usr/bin/gunicorn"), "--chdir", dir, "-b", addr, "-w", "2", "app:app"}
}

func unicorn(t *testing.T, dir, addr string) []string {
	return []string{podtest.Need(t, "/usr/bin/unicorn"), "-c", "/dev/null", "-l", addr, dir + "/config.ru"}
}

func puma(workers string) func(*testing.T, string, string) []string {
	return func(t *testing.T, dir, addr string) []string {
		return []string{podtest.Need(t, "/usr/bin/puma"), "-b", "tcp://" + addr, "-w", workers, dir + "/config.ru"}
	}
}

func starman(t *testing.T, dir, addr string) []string {
	return []string{podtest.Need(t, "/usr/bin/starman"), "--listen", addr, "--workers", "2", dir + "/app.psgi"}
}

func uwsgi(t *testing.T, dir, addr string) []string {
	return []string{podtest.Need(t, "/usr/bin/uwsgi"), "--plugin", "python3", "--chdir", dir, "--http-socket", addr,
		"--master", "--processes", "2", "--module", "app", "--die-on-term"}
}

// TestGracefulRestart rotates the value while a web server restarts gracefully at every signal.
// Requests get the newest value after each rotation, also after two rotations within 50 ms.
// A successor process, a worker with another title, or a program that executes itself again
// must not mislead the sidecar.
func TestGracefulRestart(t *testing.T) {
	for _, server := range webServers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			p := podtest.New(t, st.Env{
				"SECRETSYNC_PROCESS": server.process, "SECRETSYNC_SIGNAL": server.signal, "SECRETSYNC_PROCESS_MIN_AGE": "2s",
			})
			run := p.Start(nil)
			run.WaitReady()
			addr := st.FreeAddr(t)
			g := p.StartCommand(webCommand(t, p, server, addr))
			g.Answer = func() string { return get(addr) }
			serves(t, g, 0)
			for rotation := range 5 {
				if rotation == 3 {
					p.MustRotate()
					<-time.After(50 * time.Millisecond)
				}
				serves(t, g, p.MustRotate())
			}
			t.Log(run.Log.Tail(4))
		})
	}
}

// TestGunicornSuccessor: after USR2, the old master of gunicorn keeps running until it is ended.
// The sidecar signals its successor, which refuses to start another successor before that.
func TestGunicornSuccessor(t *testing.T) {
	t.Parallel()
	p := podtest.New(t, st.Env{
		"SECRETSYNC_PROCESS": "gunicorn", "SECRETSYNC_SIGNAL": "USR2", "SECRETSYNC_PROCESS_MIN_AGE": "2s",
	})
	run := p.Start(nil)
	run.WaitReady()
	addr := st.FreeAddr(t)
	g := p.StartCommand(webCommand(t, p, webServer{command: gunicorn}, addr))
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
	st.UntilIn(t, podtest.NotifiedWithin, "the newest value", func() error {
		if got := g.Notified(); got != n {
			return fmt.Errorf("serves %d, want %d", got, n)
		}
		return nil
	})
}

func webCommand(t *testing.T, p *podtest.Pod, server webServer, addr string) *exec.Cmd {
	t.Helper()
	args := server.command(t, podtest.Testdata(t, "web"), addr)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "VALUE="+p.Value(), "HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1")
	podtest.AsUser(t, cmd)
	return cmd
}

// serves waits until a request gets the value n.
func serves(t *testing.T, g *podtest.Program, n int64) {
	t.Helper()
	st.UntilIn(t, podtest.NotifiedWithin, "the newest value", func() error {
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
