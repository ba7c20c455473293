//go:build programs

package recipes

import (
	"os/exec"
	"testing"

	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// gunicorn starts two workers. Each writes the line "reloaded as USER": after HUP when the
// old worker ends, after USR1 when the worker has new connections.
func gunicorn(w *world) *exec.Cmd {
	dir := w.file("recipes/python-sqlalchemy")
	need(w.t, "/usr/lib/python3/dist-packages/sqlalchemy", "python3-sqlalchemy python3-pymysql python3-psycopg2")
	cmd := exec.Command(need(w.t, "/usr/bin/gunicorn", "gunicorn"),
		"--config", dir+"/gunicorn.conf.py", "--chdir", dir, "--bind", w.addr, "app")
	cmd.Env = []string{"PYTHONDONTWRITEBYTECODE=1"}
	return cmd
}

func TestPythonHUPMariaDB(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "HUP", command: gunicorn, workers: 2})
}

func TestPythonHUPPostgreSQL(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "HUP", command: gunicorn, workers: 2})
}

func TestPythonUSR1MariaDB(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "USR1", command: gunicorn, workers: 2})
}

func TestPythonUSR1PostgreSQL(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "USR1", command: gunicorn, workers: 2})
}
