//go:build programs

package recipes

import (
	"os/exec"
	"testing"

	ready "github.com/secret-sync/secret-sync/test/harness/recipe"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

func TestNodePostgreSQL(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "HUP", command: node})
}

func TestNodeMariaDB(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "HUP", command: node})
}

func TestNodeWebhook(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "webhook", command: node})
}

func node(w *world) *exec.Cmd {
	program, err := ready.Node(w.t.Context(), w.scratch)
	if err != nil {
		w.t.Fatal(err)
	}
	return program(w.addr)
}
