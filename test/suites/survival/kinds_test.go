//go:build programs

package survival

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

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A kind is a program notified with HUP.
type kind struct {
	name  string // the value of SECRETSYNC_PROCESS
	ready string // the output after the start
	// latest is the longest delay of its handler: any time if the sidecar can see the handler,
	// less than the minimum age for a Go program.
	latest time.Duration
	// prepare returns a function that starts the program with a delayed handler.
	prepare func(k *app) func(late time.Duration) *podtest.Program
}

// An app is a program of a kind in a pod.
type app struct {
	*podtest.Pod
	kind    kind
	dir     string // the directory of the program
	pidFile string
	port    string // the port of PostgreSQL
	begin   func(late time.Duration) *podtest.Program
}

var kinds = []kind{
	{name: "nginx", ready: "start worker process", prepare: nginx},
	{name: "postgres", ready: "ready to accept connections", prepare: postgres},
	{
		name:    "prefork.py",
		latest:  1500 * time.Millisecond,
		ready:   "ready",
		prepare: script("/usr/bin/python3", "prefork.py"),
	},
	{name: "app.py", latest: 1500 * time.Millisecond, ready: "ready", prepare: script("/usr/bin/python3", "app.py")},
	{name: "server.js", latest: 1500 * time.Millisecond, ready: "ready", prepare: script("/usr/bin/node", "server.js")},
	{name: "c-target", latest: 1500 * time.Millisecond, ready: "ready", prepare: cTarget},
	{name: "go-receiver", latest: 500 * time.Millisecond, ready: "ready", prepare: goReceiver},
}

// newApp returns a pod for an app, which is found by its name or its PID file. The sidecar
// runs; the app is not started.
func newApp(t *testing.T, k kind, byFile bool, minAge string) *app {
	t.Helper()
	a := &app{kind: k, dir: testsupport.MemoryDir(t)}
	a.pidFile = filepath.Join(a.dir, "pid")
	env := st.Env{"SECRETSYNC_PROCESS": k.name, "SECRETSYNC_PROCESS_MIN_AGE": minAge}
	if byFile {
		env = st.Env{"SECRETSYNC_PID_FILE": a.pidFile, "SECRETSYNC_PROCESS_MIN_AGE": minAge}
	}
	env["SECRETSYNC_SIGNAL_EXIT_CHECK"] = "false" // the tests end the programs, also after a signal
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

// write writes a file in the app's directory.
func (a *app) write(name, text string) string {
	a.T.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		a.T.Fatal(err)
	}
	return path
}

// nginx responds with the content of its configuration, which is in the volume, at the last
// reload.
func nginx(a *app) func(time.Duration) *podtest.Program {
	path, addr := podtest.Need(a.T, "/usr/sbin/nginx"), childprocess.FreeAddr(a.T)
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

// postgres logs the changed parameter of the file in the volume.
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
		// After a SIGKILL, PostgreSQL could find a new process with the PID in this file.
		_ = os.Remove(filepath.Join(data, "postmaster.pid"))
		return a.StartProgram(path, "-D", data)
	}
}

// initdb creates a database cluster owned by the user of the programs.
func initdb(a *app) string {
	a.T.Helper()
	data := filepath.Join(a.dir, "data")
	cmd := exec.Command(
		podtest.Need(a.T, "/usr/lib/postgresql/*/bin/initdb"),
		"-D",
		data,
		"-U",
		"app",
		"-A",
		"trust",
		"-N",
		"-E",
		"UTF8",
		"--locale=C",
	)
	cmd.Dir = "/"
	podtest.AsUser(a.T, cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		a.T.Fatalf("initdb: %v\n%s", err, out)
	}
	return data
}

func freePort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(childprocess.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
