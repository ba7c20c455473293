//go:build programs

package programs

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// kind is a program that is notified by HUP, and what an app of that kind is like.
type kind struct {
	name  string // what SECRETSYNC_PROCESS says
	ready string // what it prints once it is up
	// latest is how late its handler may be: any time for one that the sidecar can
	// see, less than the minimum age for a Go program.
	latest time.Duration
	// prepare returns how to start it, with its handler late by this much.
	prepare func(k *app) func(late time.Duration) *podtest.Program
}

// app is a kind in a pod.
type app struct {
	*podtest.Pod
	kind    kind
	dir     string // the program's own folder
	pidFile string
	port    string // that PostgreSQL listens at
	begin   func(late time.Duration) *podtest.Program
}

var kinds = []kind{
	{name: "nginx", ready: "start worker process", prepare: nginx},
	{name: "postgres", ready: "ready to accept connections", prepare: postgres},
	{name: "prefork.py", latest: 1500 * time.Millisecond, ready: "ready", prepare: script("/usr/bin/python3", "prefork.py")},
	{name: "app.py", latest: 1500 * time.Millisecond, ready: "ready", prepare: script("/usr/bin/python3", "app.py")},
	{name: "server.js", latest: 1500 * time.Millisecond, ready: "ready", prepare: script("/usr/bin/node", "server.js")},
	{name: "c-target", latest: 1500 * time.Millisecond, ready: "ready", prepare: cTarget},
	{name: "go-receiver", latest: 500 * time.Millisecond, ready: "ready", prepare: goReceiver},
}

// newApp makes a pod for an app of a kind, found by its name or its PID file. The
// sidecar runs, the app does not.
func newApp(t *testing.T, k kind, byFile bool, minAge string) *app {
	t.Helper()
	a := &app{kind: k, dir: st.Volume(t)}
	a.pidFile = filepath.Join(a.dir, "pid")
	env := st.Env{"SECRETSYNC_PROCESS": k.name, "SECRETSYNC_PROCESS_MIN_AGE": minAge}
	if byFile {
		env = st.Env{"SECRETSYNC_PID_FILE": a.pidFile, "SECRETSYNC_PROCESS_MIN_AGE": minAge}
	}
	a.Pod = podtest.New(t, env)
	a.begin = k.prepare(a)
	if byFile && k.name == "postgres" {
		a.Env["SECRETSYNC_PID_FILE"] = filepath.Join(a.dir, "data", "postmaster.pid")
	}
	a.Start(nil).WaitReady()
	return a
}

func ms(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

func script(interpreter, file string) func(*app) func(time.Duration) *podtest.Program {
	return func(a *app) func(time.Duration) *podtest.Program {
		path := podtest.Need(a.T, interpreter)
		return func(late time.Duration) *podtest.Program {
			return a.StartProgram(path, podtest.Testdata(a.T, file), a.Value(), a.pidFile, ms(late))
		}
	}
}

func cTarget(a *app) func(time.Duration) *podtest.Program {
	path := podtest.Called(a.T, podtest.Target(a.T), a.kind.name)
	return func(late time.Duration) *podtest.Program {
		return a.StartProgram(path, "handler", a.Value(), a.pidFile, ms(late))
	}
}

func goReceiver(a *app) func(time.Duration) *podtest.Program {
	path := podtest.Called(a.T, podtest.CompileGo(a.T, "goapp"), a.kind.name)
	return func(late time.Duration) *podtest.Program {
		return a.StartProgram(path, a.Value(), a.pidFile, ms(late))
	}
}

// write makes a file in the app's folder.
func (a *app) write(name, text string) string {
	a.T.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		a.T.Fatal(err)
	}
	return path
}

// nginx answers what its configuration, which is in the volume, said at the last
// reload.
func nginx(a *app) func(time.Duration) *podtest.Program {
	path, addr := podtest.Need(a.T, "/usr/sbin/nginx"), st.FreeAddr(a.T)
	conf := a.write("nginx.conf", nginxConf(a, fmt.Sprintf("listen %s;\ninclude %s/db/nginx.conf;", addr, a.Dir)))
	return func(time.Duration) *podtest.Program {
		g := a.StartProgram(path, "-p", a.dir, "-c", conf, "-e", "stderr")
		g.Answer = func() string {
			client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Get("http://" + addr)
			if err != nil {
				return ""
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			return string(text)
		}
		return g
	}
}

func nginxConf(a *app, server string) string {
	temp := ""
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%s;\n", what, a.dir, what)
	}
	return fmt.Sprintf(`daemon off;
worker_processes 2;
error_log stderr notice;
pid %s;
events {}
http {
access_log off;
%sserver {
%s
}
}
`, a.pidFile, temp, server)
}

// postgres says in its log which parameter of the file in the volume changed.
func postgres(a *app) func(time.Duration) *podtest.Program {
	data := initdb(a)
	a.port = freePort(a.T)
	path := podtest.Need(a.T, "/usr/lib/postgresql/*/bin/postgres")
	a.write("data/postgresql.conf", fmt.Sprintf(`listen_addresses = '127.0.0.1'
port = %s
unix_socket_directories = '%s'
shared_buffers = '1MB'
max_connections = 20
dynamic_shared_memory_type = mmap
fsync = off
log_line_prefix = '%%p '
include '%s/db/pg.conf'
`, a.port, a.dir, a.Dir))
	return func(time.Duration) *podtest.Program {
		// After a SIGKILL: it would find a process of the number in it, the new one.
		_ = os.Remove(filepath.Join(data, "postmaster.pid"))
		return a.StartProgram(path, "-D", data)
	}
}

// initdb makes a database cluster of the programs' user.
func initdb(a *app) string {
	a.T.Helper()
	data := filepath.Join(a.dir, "data")
	cmd := exec.Command(podtest.Need(a.T, "/usr/lib/postgresql/*/bin/initdb"), "-D", data, "-U", "app", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	cmd.Dir = "/"
	podtest.AsUser(a.T, cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		a.T.Fatalf("initdb: %v\n%s", err, out)
	}
	return data
}

func freePort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(st.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
