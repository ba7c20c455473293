//go:build programs

package recipes

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// bouncer is the recipe's configuration with the test's places in it.
func bouncer(w *world) *exec.Cmd {
	text, err := os.ReadFile(w.file("recipes/pgbouncer/pgbouncer.ini"))
	if err != nil {
		w.t.Fatal(err)
	}
	conf := strings.NewReplacer("/secrets/db", w.credentials(), "listen_port = 6432", "listen_port = "+port(w.behind)+"\nunix_socket_dir =").Replace(string(text))
	cmd := exec.Command(need(w.t, "/usr/sbin/pgbouncer", "pgbouncer"), w.write("pgbouncer.ini", conf))
	if os.Getuid() == 0 { // which it refuses to be
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// client is examples/app, which knows PgBouncer alone and is notified of nothing.
func client(w *world) {
	st.Until(w.t, "PgBouncer listens", func() error {
		conn, err := net.Dial("tcp", w.behind)
		if err == nil {
			conn.Close()
		}
		return err
	})
	dir := w.scratch + "/client/..data"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.write("client/..data/username", "app")
	w.write("client/..data/password", "")
	cmd := exec.Command(w.build("app"))
	cmd.Env = []string{"APP_CREDENTIALS=" + w.scratch + "/client",
		"APP_DATABASE=postgres://" + w.behind + "/app?sslmode=disable&default_query_exec_mode=simple_protocol"}
	w.start(cmd, &testsupport.Log{})
}

// databases is the line that PgBouncer includes.
func databases(w *world, c pool.Credentials) map[string]string {
	return map[string]string{"databases.ini": fmt.Sprintf("app = host=127.0.0.1 port=%s dbname=app user=%s password='%s'\n", port(w.server.Addr), c.Username, c.Password)}
}

// PgBouncer has reloaded when it said so and the database has no other user's session.
// If it is opening a connection at that moment, it refuses queries.
func TestPgBouncer(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "HUP", command: bouncer, beside: client, files: databases, retries: true,
		reloaded: func(w *world, user, since string) error {
			if !strings.Contains(since, "got SIGHUP, re-reading config") {
				return fmt.Errorf("PgBouncer has not read its configuration again")
			}
			numbers, err := w.db.sessions(user)
			if err == nil && len(numbers) > 0 {
				err = fmt.Errorf("PgBouncer has %d old connections", len(numbers))
			}
			return err
		}})
}
