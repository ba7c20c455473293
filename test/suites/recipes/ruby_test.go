//go:build programs

package recipes

import (
	"os/exec"
	"testing"

	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

func TestRubyPostgreSQL(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "webhook", command: puma})
}

func TestRubyMariaDB(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "webhook", command: puma})
}

// puma returns the command of Puma with a single process.
func puma(w *world) *exec.Cmd {
	dir := w.file("recipes/ruby")
	const debian = "puma ruby-sequel ruby-mysql2 ruby-pg"
	need(w.t, "/usr/lib/ruby/vendor_ruby/sequel.rb", debian)
	return exec.Command(need(w.t, "/usr/bin/puma", debian),
		"-C", dir+"/puma.rb", "-b", "tcp://"+w.addr, dir+"/config.ru")
}
