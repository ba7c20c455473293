//go:build programs

package recipes

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/secret-sync/secret-sync/examples/internal/dbserver"
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

// node runs a copy of the recipe, so that the packages do not get into the checkout.
func node(w *world) *exec.Cmd {
	dir := filepath.Join(w.scratch, "node")
	if err := os.CopyFS(dir, os.DirFS(w.file("recipes/node"))); err != nil {
		w.t.Fatal(err)
	}
	ci := exec.Command(need(w.t, "/usr/bin/npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	ci.Dir = dir
	if out, err := ci.CombinedOutput(); err != nil {
		w.t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return exec.Command(need(w.t, "/usr/bin/node", "nodejs"), filepath.Join(dir, "app.js"))
}
