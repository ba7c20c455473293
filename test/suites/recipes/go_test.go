//go:build programs

package recipes

import (
	"os/exec"
	"testing"

	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

func goProgram(pkg string) func(*world) *exec.Cmd {
	return func(w *world) *exec.Cmd { return exec.Command(w.build(pkg)) }
}

// TestGoMariaDB runs examples/app, which uses database/sql.
func TestGoMariaDB(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "webhook", command: goProgram("app")})
}

// TestGoPostgreSQL runs examples/app, which uses database/sql.
func TestGoPostgreSQL(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "webhook", command: goProgram("app")})
}

func TestGoPgxpool(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "HUP", command: goProgram("recipes/go-pgxpool")})
}
