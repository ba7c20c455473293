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
	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
	"github.com/secret-sync/secret-sync/examples/internal/dbserver"
	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// bouncer is the recipe's configuration with the test's places in it.
func bouncer(port *string) func(*world) *exec.Cmd {
	return func(w *world) *exec.Cmd {
		_, *port, _ = net.SplitHostPort(st.FreeAddr(w.t))
		text, err := os.ReadFile(w.file("recipes/pgbouncer/pgbouncer.ini"))
		if err != nil {
			w.t.Fatal(err)
		}
		conf := strings.NewReplacer("/secrets/db", w.credentials(), "listen_port = 6432", "listen_port = "+*port+"\nunix_socket_dir =").Replace(string(text))
		cmd := exec.Command(need(w.t, "/usr/sbin/pgbouncer", "pgbouncer"), w.write("pgbouncer.ini", conf))
		if os.Getuid() == 0 { // which it refuses to be
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		return cmd
	}
}

// client is examples/app, which knows PgBouncer alone and is notified of nothing.
func client(port *string) func(*world) {
	return func(w *world) {
		addr := "127.0.0.1:" + *port
		st.Until(w.t, "PgBouncer listens", func() error {
			conn, err := net.Dial("tcp", addr)
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
			"APP_DATABASE=postgres://" + addr + "/app?sslmode=disable&default_query_exec_mode=simple_protocol"}
		w.start(cmd, &childprocess.Log{})
	}
}

// databases is the line that PgBouncer includes.
func databases(w *world, c pool.Credentials) map[string]string {
	host, port, _ := net.SplitHostPort(w.server.Addr)
	return map[string]string{"databases.ini": fmt.Sprintf("app = host=%s port=%s dbname=app user=%s password='%s'\n", host, port, c.Username, c.Password)}
}

// PgBouncer has reloaded when it said so and the database has no other user's session.
func TestPgBouncer(t *testing.T) {
	var port string
	run(t, recipe{database: dbserver.PostgreSQL, notify: "HUP", command: bouncer(&port), beside: client(&port), files: databases,
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
