//go:build programs

package main

import (
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

var administrator = pool.Credentials{Username: "rotation", Password: "rotation"}

// mariaDB starts MariaDB with a database and an administrator with the privileges in the
// README. It also returns a connection as root.
func mariaDB(t *testing.T, database string) (*dbserver.Server, *sql.DB) {
	t.Helper()
	server := dbserver.MariaDB(t)
	root := dbserver.Open(t, server.URL, server.Admin)
	mustExec(t, root,
		"CREATE DATABASE IF NOT EXISTS "+quote(database, "`"),
		"CREATE USER rotation@'%' IDENTIFIED BY 'rotation'",
		"GRANT CREATE USER, PROCESS ON *.* TO rotation@'%'",
		"GRANT SELECT ON mysql.user TO rotation@'%'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON "+pattern(database)+".* TO rotation@'%' WITH GRANT OPTION")
	return &dbserver.Server{URL: withDatabase(t, server.URL, database), Admin: administrator}, root
}

// postgreSQL does the same with PostgreSQL. The role of the database may create tables.
func postgreSQL(t *testing.T, database string) (*dbserver.Server, *sql.DB) {
	t.Helper()
	server := dbserver.PostgreSQL(t)
	name := quote(database, `"`)
	if database != "app" {
		mustExec(t, dbserver.Open(t, server.URL, server.Admin), "CREATE DATABASE "+name)
	}
	root := dbserver.Open(t, withDatabase(t, server.URL, database), server.Admin)
	mustExec(t, root,
		"CREATE ROLE "+name,
		"GRANT CREATE ON SCHEMA public TO "+name,
		"CREATE ROLE rotation LOGIN CREATEROLE PASSWORD 'rotation'",
		"GRANT "+name+" TO rotation WITH ADMIN OPTION")
	return &dbserver.Server{URL: withDatabase(t, server.URL, database), Admin: administrator, Log: server.Log}, root
}

func withDatabase(t *testing.T, address, database string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

func mustExec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// TestMariaDB_quotesIdentifiers rotates with special characters in names.
func TestMariaDB_quotesIdentifiers(t *testing.T) {
	for _, database := range []string{"app", "my-app", "my_app", "my`app"} {
		t.Run(database, func(t *testing.T) {
			server, _ := mariaDB(t, database)
			newSceneWithUsers(t, server, [2]string{"app-a", "app'b`"}).mustRotate()
		})
	}
}

// TestMariaDB_grantsASingleDatabase reads myXapp as a user of my_app, which must fail. In a
// GRANT, an unescaped _ matches every character.
func TestMariaDB_grantsASingleDatabase(t *testing.T) {
	server, root := mariaDB(t, "my_app")
	mustExec(t, root, "CREATE DATABASE myXapp", "CREATE TABLE myXapp.t (id INT)", "CREATE TABLE my_app.t (id INT)")
	s := newScene(t, server)
	s.mustRun()
	app := s.open()
	mustExec(t, app, "SELECT * FROM my_app.t")
	if _, err := app.Exec("SELECT * FROM myXapp.t"); err == nil {
		t.Error("a user of my_app can read myXapp")
	}
}

// TestMariaDB_accountForASingleHost covers an account app_b@localhost, which MariaDB prefers
// to app_b@%. A run must fail and change nothing.
func TestMariaDB_accountForASingleHost(t *testing.T) {
	server, root := mariaDB(t, "app")
	s := newScene(t, server)
	mustExec(t, root, "CREATE USER app_b@localhost IDENTIFIED BY 'x'")
	before := s.inSecret()
	err := s.newRun().run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "app_b@localhost takes precedence over app_b@%") {
		t.Errorf("got error %v, want the other account", err)
	}
	if s.inSecret() != before {
		t.Error("the run changed the Secret")
	}
	mustExec(t, root, "DROP USER app_b@localhost")
	s.mustRotate()
}

// TestMariaDB_withoutTheProcessPrivilege covers an administrator who cannot see the sessions
// of other users. A run must keep the old user.
func TestMariaDB_withoutTheProcessPrivilege(t *testing.T) {
	server, root := mariaDB(t, "app")
	s := newScene(t, server)
	mustExec(t, root, "REVOKE PROCESS ON *.* FROM rotation@'%'")
	err := s.newRun().run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "keeping user app_a: the administrator cannot see sessions") {
		t.Errorf("got error %v, want the missing privilege", err)
	}
	mustExec(t, root, "GRANT PROCESS ON *.* TO rotation@'%'")
	s.mustRun()
}

// TestPostgreSQL_quotesIdentifiers rotates with special characters in names.
func TestPostgreSQL_quotesIdentifiers(t *testing.T) {
	for _, database := range []string{"app", "my-app", "my_app", `my"app'`} {
		t.Run(database, func(t *testing.T) {
			server, _ := postgreSQL(t, database)
			newSceneWithUsers(t, server, [2]string{"app-a", `app"b`}).mustRotate()
		})
	}
}

// TestPostgreSQL_logsNoPassword rotates while the server logs every CREATE ROLE. The log
// must contain the statements and no password.
func TestPostgreSQL_logsNoPassword(t *testing.T) {
	server, root := postgreSQL(t, "app")
	mustExec(t, root, "ALTER SYSTEM SET log_statement = 'ddl'", "SELECT pg_reload_conf()")
	testsupport.Eventually(t, "the server logs statements", func() error {
		mustExec(t, root, "CREATE TABLE IF NOT EXISTS probe (id INT)")
		if !strings.Contains(server.Log.String(), "CREATE TABLE IF NOT EXISTS probe") {
			return fmt.Errorf("no statement in the log")
		}
		return nil
	})
	s := newScene(t, server)
	var passwords []string
	for range 2 {
		s.mustRun()
		passwords = append(passwords, s.app.Password)
	}
	log := server.Log.String()
	if got := strings.Count(log, "CREATE ROLE"); got < len(passwords) {
		t.Fatalf("the log contains %d statements CREATE ROLE, want %d", got, len(passwords))
	}
	for _, password := range append(passwords, firstUser.Password) {
		if strings.Contains(log, password) {
			t.Error("the log contains a password")
		}
	}
}

// TestPostgreSQL_appOwnsItsSchema migrates the schema of the app between rotations. Each user
// must be able to change the objects of the previous users, and the job must be able to drop
// the creators of objects.
func TestPostgreSQL_appOwnsItsSchema(t *testing.T) {
	server, root := postgreSQL(t, "app")
	s := newScene(t, server)
	migrations := []string{
		"CREATE TABLE orders (id SERIAL PRIMARY KEY)",
		"ALTER TABLE orders ADD COLUMN total INT",
		"CREATE INDEX ON orders (total)",
		"CREATE VIEW totals AS SELECT sum(total) FROM orders",
	}
	for _, migration := range migrations {
		app := s.open()
		mustExec(t, app, migration, "INSERT INTO orders DEFAULT VALUES")
		app.Close()
		s.mustRun()
		if got := s.existing(); !slices.Equal(got, []string{s.app.Username}) {
			t.Errorf("after %q: users %q exist, want %s", migration, got, s.app)
		}
	}
	var owners string
	query := "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'public'"
	if err := root.QueryRow(query).Scan(&owners); err != nil || owners != "app" {
		t.Errorf("the tables belong to %q, want app; %v", owners, err)
	}
}

// TestPostgreSQL_ownerOfObjects covers a first user without the role setting. The error must
// contain the remedy.
func TestPostgreSQL_ownerOfObjects(t *testing.T) {
	server, root := postgreSQL(t, "app")
	s := newScene(t, server)
	mustExec(t, root, "ALTER ROLE app_a RESET role")
	app := s.open()
	mustExec(t, app, "CREATE TABLE orders (id INT)")
	app.Close()
	err := s.newRun().run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "REASSIGN OWNED BY") {
		t.Errorf("got error %v, want the remedy", err)
	}
	mustExec(t, root, "REASSIGN OWNED BY app_a TO app", "DROP OWNED BY app_a")
	s.mustRun()
}

// TestRealDatabases_keepAUserWithSessions leaves a session of the old user open, on both
// servers. The run must fail and keep the user, and the next run must drop it.
func TestRealDatabases_keepAUserWithSessions(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) (*dbserver.Server, *sql.DB){
		"MariaDB": mariaDB, "PostgreSQL": postgreSQL,
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := start(t, "app")
			s := newScene(t, server)
			session := s.open()
			a := s.newRun()
			a.sessionTimeout = 300 * time.Millisecond
			err := a.run(t.Context())
			if err == nil || !strings.Contains(err.Error(), "keeping user app_a: it has 1 sessions") {
				t.Errorf("got error %v, want the open session", err)
			}
			session.Close()
			s.mustRun()
			if got := s.existing(); !slices.Equal(got, []string{"app_b"}) {
				t.Errorf("users %q exist, want app_b", got)
			}
		})
	}
}

// TestPostgreSQL_previewOmitsTheSecret checks the statements of a dry run.
func TestPostgreSQL_previewOmitsTheSecret(t *testing.T) {
	server, _ := postgreSQL(t, "app")
	checkPreview(t, newScene(t, server), `CREATE ROLE "app_b" LOGIN IN ROLE "app" PASSWORD '…'`+"\n"+
		`ALTER ROLE "app_b" SET role TO 'app'`+"\n"+
		"update Secret \"db\": username app_b, password …\n"+
		"secret-sync wait --secret db --direct --version VERSION\n"+
		`DROP ROLE "app_a"`+"\n")
}
