//go:build programs

package recipes

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// A world contains everything that runs in a test.
type world struct {
	t       *testing.T
	recipe  recipe
	scene   *st.Scene
	server  *dbserver.Server
	db      database
	current pool.Credentials // credentials in the Secret
	users   int              // number of users created so far

	scratch string // directory for the recipe's own files
	addr    string // address of the app
	behind  string // address of a program behind the app or in front of it
	url     string
	app     *childprocess.Process
	log     *testsupport.Log // output of the app
	load    *load

	status          string // URL of the sidecar's /status
	resourceVersion string // resourceVersion of the Secret after the last update
}

// newWorld starts the database and the sidecar, with the first user in the Secret.
func newWorld(t *testing.T, r recipe) *world {
	t.Helper()
	w := &world{
		t: t, recipe: r, server: r.database(t), scratch: testsupport.MemoryDir(t),
		addr: childprocess.FreeAddr(t), behind: childprocess.FreeAddr(t), log: &testsupport.Log{},
	}
	w.url = "http://" + w.addr
	w.db = newDatabase(t, w.server)
	status := childprocess.FreeAddr(t)
	w.status = "http://" + status + "/status"
	env := st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_HTTP_ADDR": status}
	if r.notify == "webhook" {
		env["SECRETSYNC_WEBHOOK_URL"], env["SECRETSYNC_WEBHOOK_TIMEOUT"] = w.url+cmp.Or(r.reload, "/-/reload"), "20s"
	} else {
		env["SECRETSYNC_PID_FILE"], env["SECRETSYNC_SIGNAL"] = w.pidFile(), r.notify
		// The test waits until the app has registered its handler.
		env["SECRETSYNC_PROCESS_MIN_AGE"] = "100ms"
	}
	w.scene = st.New(t, env)
	first := w.newCredentials()
	w.db.create(first)
	w.put(first)
	w.scene.Start(nil).WaitReady()
	return w
}

func (w *world) pidFile() string { return filepath.Join(w.scratch, "pid") }

// credentials returns the directory of the Secret.
func (w *world) credentials() string { return filepath.Join(w.scene.Dir, "db") }

// newCredentials returns the credentials of a future user.
func (w *world) newCredentials() pool.Credentials {
	w.users++
	return pool.Credentials{Username: fmt.Sprintf("app_%d", w.users), Password: rand.Text()}
}

// put updates the Secret.
func (w *world) put(c pool.Credentials) {
	w.t.Helper()
	data := map[string]string{"username": c.Username, "password": c.Password}
	if w.recipe.files != nil {
		maps.Copy(data, w.recipe.files(w, c))
	}
	w.scene.SetSecret("db", data)
	w.current = c
	w.resourceVersion = w.scene.Get("db").ResourceVersion
}

// startApp starts the app and waits until it answers.
func (w *world) startApp() {
	w.t.Helper()
	w.app = w.start(w.recipe.command(w), w.log)
	if err := os.WriteFile(w.pidFile(), fmt.Append(nil, w.app.PID()), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if w.recipe.beside != nil {
		w.recipe.beside(w)
	}
	w.until("the app answers", func() error {
		if got := lines(w.log.String(), "ready"); got < w.recipe.workers {
			return fmt.Errorf("%d lines \"ready\", want %d", got, w.recipe.workers)
		}
		return w.answers()
	})
}

// start starts a program with the environment of the package comment. It stops the
// program at the end of the test.
func (w *world) start(cmd *exec.Cmd, log *testsupport.Log) *childprocess.Process {
	w.t.Helper()
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.scratch, log, log
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + w.scratch,
		"APP_DATABASE=" + w.server.URL, "APP_CREDENTIALS=" + w.credentials(), "APP_ADDR=" + w.addr,
	}, cmd.Env...)
	p, err := childprocess.Start(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.Stop(5 * time.Second)
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // kills workers that outlived their parent
		if w.t.Failed() {
			w.t.Logf("%s's output:\n%s", filepath.Base(cmd.Path), log.Tail(40))
		}
	})
	return p
}

// notified returns nil if the app has answered the webhook for the current version of the
// Secret.
func (w *world) notified() error {
	resp, err := http.Get(w.status)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var s struct {
		Secrets map[string]struct {
			ResourceVersion string
			Generation      int
		}
		Targets []struct {
			Notified int
			Pending  bool
			Error    string
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return err
	}
	db := s.Secrets["db"]
	if db.ResourceVersion != w.resourceVersion || len(s.Targets) != 1 ||
		s.Targets[0].Pending || s.Targets[0].Notified < db.Generation {
		return fmt.Errorf("not notified yet: %+v, want version %s", s, w.resourceVersion)
	}
	return nil
}

// need returns the path of a program, given as a pattern. A missing program fails the
// test: a skipped test would prove nothing.
func need(t *testing.T, pattern, debianPackage string) string {
	t.Helper()
	if found, _ := filepath.Glob(pattern); len(found) > 0 {
		return found[len(found)-1] // the newest version
	}
	t.Fatalf("this test needs %s: apt-get install -y --no-install-recommends %s", pattern, debianPackage)
	return ""
}

// file returns the path of a file below examples.
func (w *world) file(name string) string {
	w.t.Helper()
	dir, err := build.RepositoryDir(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return filepath.Join(dir, "examples", name)
}

// write creates a file in the scratch directory.
func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.scratch, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// build builds a Go program below examples.
func (w *world) build(pkg string) string {
	w.t.Helper()
	path := filepath.Join(w.scratch, filepath.Base(pkg))
	if err := build.Example(w.t.Context(), pkg, path); err != nil {
		w.t.Fatal(err)
	}
	return path
}
