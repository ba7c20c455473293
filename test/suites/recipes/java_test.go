//go:build programs

package recipes

import (
	"os/exec"
	"testing"

	ready "github.com/secret-sync/secret-sync/test/harness/recipe"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

func TestJavaPostgreSQL(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "webhook", command: java})
}

func TestJavaMariaDB(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "webhook", command: java})
}

// TestJavaRefresh uses the path of Spring's refresh endpoint.
func TestJavaRefresh(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "webhook", reload: "/actuator/refresh", command: java})
}

func TestJavaHUP(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "HUP", command: java})
}

func java(w *world) *exec.Cmd {
	program, err := ready.Java(w.t.Context(), w.scratch)
	if err != nil {
		w.t.Fatal(err)
	}
	return program(w.addr)
}
