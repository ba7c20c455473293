//go:build programs

package recipes

import (
	"os/exec"
	"testing"

	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// restart starts restart.sh with the Python program. While the program restarts, it does
// not listen, so queries fail.
func restart(w *world) *exec.Cmd {
	need(w.t, "/usr/lib/python3/dist-packages/pymysql", "python3-pymysql")
	python := need(w.t, "/usr/bin/python3", "python3-minimal")
	cmd := exec.Command(w.file("recipes/shell/restart.sh"), python, w.file("recipes/shell/app.py"))
	cmd.Env = []string{"CREDENTIALS=" + w.credentials(), "PYTHONDONTWRITEBYTECODE=1"}
	return cmd
}

func TestShell(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "HUP", command: restart, restarts: true})
}
