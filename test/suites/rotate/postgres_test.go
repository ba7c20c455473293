//go:build programs

package rotate

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// postgreSQL starts PostgreSQL with an administrator with the privileges in the README, who has no database yet.
func postgreSQL(t *testing.T) *databaseServer {
	t.Helper()
	server := dbserver.PostgreSQL(t)
	root := dbserver.Open(t, server.URL, server.Admin)
	mustExec(t, root, "CREATE ROLE rotation LOGIN CREATEROLE PASSWORD 'rotation'")
	return &databaseServer{server, root}
}

// postgresDatabase creates a database and its role, which may create tables. It also returns a connection as root.
func (s *databaseServer) postgresDatabase(t *testing.T, name string) (*dbserver.Server, *sql.DB) {
	t.Helper()
	quoted := quote(name, `"`)
	mustExec(t, s.root, "CREATE DATABASE "+quoted)
	server := s.database(t, name)
	root := dbserver.Open(t, server.URL, s.Admin)
	mustExec(t, root,
		"CREATE ROLE "+quoted,
		"GRANT CREATE ON SCHEMA public TO "+quoted,
		"GRANT "+quoted+" TO rotation WITH ADMIN OPTION")
	return server, root
}

// TestPostgreSQL runs the tests of a real PostgreSQL on a single server. Each test has a database of its own.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	server := postgreSQL(t)
	for name, test := range map[string]func(t *testing.T, s *scene, root *sql.DB){
		"logsNoPassword":         logsNoPassword,
		"appOwnsItsSchema":       appOwnsItsSchema,
		"ownerOfObjects":         ownerOfObjects,
		"keepsAUserWithSessions": func(_ *testing.T, s *scene, _ *sql.DB) { s.checkOpenSession() },
		"dryRun":                 dryRunOmitsTheSecret,
	} {
		t.Run(name, func(t *testing.T) {
			database, root := server.postgresDatabase(t, name)
			test(t, newScene(t, database), root)
		})
	}
	for _, name := range []string{"apps", "my-app", "my_app", `my"app'`} {
		t.Run("quotesIdentifiers/"+name, func(t *testing.T) {
			database, _ := server.postgresDatabase(t, name)
			newSceneWithUsers(t, database, [2]string{"app-a", `app"b`}).mustRotate()
		})
	}
}

// logsNoPassword rotates while the server logs every CREATE ROLE. The log
// must contain the statements and no password.
func logsNoPassword(t *testing.T, s *scene, root *sql.DB) {
	mustExec(t, root, "ALTER SYSTEM SET log_statement = 'ddl'", "SELECT pg_reload_conf()")
	testsupport.Eventually(t, "the server logs statements", func() error {
		mustExec(t, root, "CREATE TABLE IF NOT EXISTS probe (id INT)")
		if s.server.Log.Count("CREATE TABLE IF NOT EXISTS probe") == 0 {
			return errors.New("no statement in the log")
		}
		return nil
	})
	var passwords []string
	for range 2 {
		s.mustRun()
		passwords = append(passwords, s.app.Password)
	}
	log := s.server.Log.String()
	if got := strings.Count(log, "CREATE ROLE"); got < len(passwords) {
		t.Fatalf("the log contains %d statements CREATE ROLE, want %d", got, len(passwords))
	}
	for _, password := range append(passwords, firstUser.Password) {
		if strings.Contains(log, password) {
			t.Error("the log contains a password")
		}
	}
}

// appOwnsItsSchema migrates the schema of the app between rotations. Each user
// must be able to change the objects of the previous users, and the job must be able to drop
// the creators of objects.
func appOwnsItsSchema(t *testing.T, s *scene, root *sql.DB) {
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
		s.wantUsers("after "+migration, s.app.Username)
	}
	var owners string
	query := "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'public'"
	if err := root.QueryRow(query).Scan(&owners); err != nil || owners != "appOwnsItsSchema" {
		t.Errorf("the tables belong to %q, want the role of the database; %v", owners, err)
	}
}

// ownerOfObjects covers a first user without the role setting. The error must
// contain the remedy.
func ownerOfObjects(t *testing.T, s *scene, root *sql.DB) {
	mustExec(t, root, "ALTER ROLE app_a RESET role")
	app := s.open()
	mustExec(t, app, "CREATE TABLE orders (id INT)")
	app.Close()
	wantError(t, s.newRun(nil).all(), "REASSIGN OWNED BY")
	mustExec(t, root, `REASSIGN OWNED BY app_a TO "ownerOfObjects"`, "DROP OWNED BY app_a")
	s.mustRun()
}

// dryRunOmitsTheSecret checks the statements of a dry run.
func dryRunOmitsTheSecret(_ *testing.T, s *scene, _ *sql.DB) {
	s.checkDryRun(`CREATE ROLE "app_b" LOGIN IN ROLE "dryRun" PASSWORD '…'` + "\n" +
		`ALTER ROLE "app_b" SET role TO 'dryRun'` + "\n" +
		"update Secret \"db\": username app_b, password …\n" +
		"secret-sync wait --secret db --direct --version VERSION\n" +
		`DROP ROLE "app_a"` + "\n")
}
