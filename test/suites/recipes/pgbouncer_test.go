//go:build programs

package recipes

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// bouncer starts PgBouncer with the recipe's configuration and the test's paths and ports.
func bouncer(w *world) *exec.Cmd {
	text, err := os.ReadFile(w.file("recipes/pgbouncer/pgbouncer.ini"))
	if err != nil {
		w.t.Fatal(err)
	}
	conf := strings.NewReplacer(
		"/secrets/db", w.credentials(),
		"listen_port = 6432", "listen_port = "+port(w.behind)+"\nunix_socket_dir =",
	).Replace(string(text))
	cmd := exec.Command(need(w.t, "/usr/sbin/pgbouncer", "pgbouncer"), w.write("pgbouncer.ini", conf))
	if os.Getuid() == 0 { // PgBouncer refuses to run as root
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// client starts examples/app, which connects to PgBouncer and receives no notification.
func client(w *world) {
	testsupport.Eventually(w.t, "PgBouncer listens", func() error {
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

// databases returns the key of the Secret included by PgBouncer.
func databases(w *world, c pool.Credentials) map[string]string {
	line := fmt.Sprintf("app = host=127.0.0.1 port=%s dbname=app user=%s password='%s'\n",
		port(w.server.Addr), c.Username, c.Password)
	return map[string]string{"databases.ini": line}
}

// TestPgBouncer lets its clients retry, because PgBouncer rejects queries if it is opening
// a connection at the moment of the reload.
func TestPgBouncer(t *testing.T) {
	run(t, recipe{
		database: dbserver.PostgreSQL, notify: "HUP", command: bouncer, beside: client,
		files: databases, retries: true, reloaded: bouncerReloaded,
	})
}

// bouncerReloaded returns nil if PgBouncer has logged the reload and the database lists no
// session of another user.
func bouncerReloaded(w *world, user, since string) error {
	if !strings.Contains(since, "got SIGHUP, re-reading config") {
		return errors.New("PgBouncer has not read its configuration again")
	}
	ids, err := w.db.sessions(user)
	if err == nil && len(ids) > 0 {
		err = fmt.Errorf("PgBouncer keeps %d old connections", len(ids))
	}
	return err
}
