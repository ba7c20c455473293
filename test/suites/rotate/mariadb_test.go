//go:build programs

package rotate

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// mariaDB starts MariaDB with an administrator with the privileges in the README, who has no database yet.
func mariaDB(t *testing.T) *databaseServer {
	t.Helper()
	server := dbserver.MariaDB(t)
	root := dbserver.Open(t, server.URL, server.Admin)
	mustExec(t, root,
		"CREATE USER rotation@'%' IDENTIFIED BY 'rotation'",
		"GRANT CREATE USER, PROCESS ON *.* TO rotation@'%'",
		"GRANT SELECT ON mysql.user TO rotation@'%'")
	return &databaseServer{server, root}
}

// mariaDatabase creates a database, which the administrator may grant to others.
func (s *databaseServer) mariaDatabase(t *testing.T, name string) *dbserver.Server {
	t.Helper()
	mustExec(t, s.root,
		"CREATE DATABASE IF NOT EXISTS "+quote(name, "`"),
		"GRANT SELECT, INSERT, UPDATE, DELETE ON "+pattern(name)+".* TO rotation@'%' WITH GRANT OPTION")
	return s.database(t, name)
}

// TestMariaDB runs the tests of a real MariaDB on a single server.
func TestMariaDB(t *testing.T) {
	t.Parallel()
	server := mariaDB(t)
	for name, test := range map[string]func(*testing.T, *databaseServer){
		"grantsASingleDatabase":      grantsASingleDatabase,
		"accountForASingleHost":      accountForASingleHost,
		"withoutTheProcessPrivilege": withoutTheProcessPrivilege,
		"withoutTheGrantOption":      withoutTheGrantOption,
		"keepsAUserWithSessions": func(t *testing.T, server *databaseServer) {
			newScene(t, server.mariaDatabase(t, "app")).checkOpenSession()
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
	for _, database := range []string{"app", "my-app", "my_app", "my`app"} {
		t.Run("quotesIdentifiers/"+database, func(t *testing.T) {
			newSceneWithUsers(t, server.mariaDatabase(t, database), [2]string{"app-a", "app'b`"}).mustRotate()
		})
	}
}

// grantsASingleDatabase reads myXapp as a user of my_app, which must fail. In a
// GRANT, an unescaped _ matches every character.
func grantsASingleDatabase(t *testing.T, server *databaseServer) {
	s := newScene(t, server.mariaDatabase(t, "my_app"))
	mustExec(t, server.root, "CREATE DATABASE myXapp", "CREATE TABLE myXapp.t (id INT)",
		"CREATE TABLE my_app.t (id INT)")
	s.mustRun()
	app := s.open()
	mustExec(t, app, "SELECT * FROM my_app.t")
	if _, err := app.Exec("SELECT * FROM myXapp.t"); err == nil {
		t.Error("a user of my_app can read myXapp")
	}
}

// accountForASingleHost covers an account app_b@localhost, which MariaDB prefers
// to app_b@%. A run must fail and change nothing.
func accountForASingleHost(t *testing.T, server *databaseServer) {
	s := newScene(t, server.mariaDatabase(t, "app"))
	mustExec(t, server.root, "CREATE USER app_b@localhost IDENTIFIED BY 'x'")
	before := s.inSecret()
	wantError(t, s.newRun(nil).all(), "app_b@localhost takes precedence over app_b@%")
	if s.inSecret() != before {
		t.Error("the run changed the Secret")
	}
	mustExec(t, server.root, "DROP USER app_b@localhost")
	s.mustRotate()
}

// withoutTheProcessPrivilege covers an administrator who cannot see the sessions
// of other users. A run must keep the old user.
func withoutTheProcessPrivilege(t *testing.T, server *databaseServer) {
	s := newScene(t, server.mariaDatabase(t, "app"))
	mustExec(t, server.root, "REVOKE PROCESS ON *.* FROM rotation@'%'")
	wantError(t, s.newRun(nil).all(), "keeping user app_a: the administrator cannot see sessions of other users")
	s.wantUsers("after the run", "app_a", "app_b")
	mustExec(t, server.root, "GRANT PROCESS ON *.* TO rotation@'%'")
	s.mustRun()
	s.wantUsers("after the next run", "app_b")
}

// withoutTheGrantOption covers an administrator who can create a user, but cannot grant it the database. No run leaves
// a user behind that the Secret never contained.
func withoutTheGrantOption(t *testing.T, server *databaseServer) {
	s := newScene(t, server.mariaDatabase(t, "app"))
	mustExec(t, server.root, "REVOKE GRANT OPTION ON app.* FROM rotation@'%'")
	wantError(t, s.newRun(nil).all(), "create user app_b")
	s.wantUsers("after the run", "app_a")
	if s.inSecret() != firstUser {
		t.Errorf("the Secret contains %s, want app_a", s.inSecret())
	}
	server.mariaDatabase(t, "app")
	s.mustRotate()
}
