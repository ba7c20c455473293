//go:build programs

package recipes

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// database is what the administrator does to it.
type database struct {
	t        *testing.T
	admin    *sql.DB
	postgres bool
}

// newDatabase makes the tables. In PostgreSQL the users are members of the role app.
func newDatabase(t *testing.T, server *dbserver.Server) *database {
	t.Helper()
	d := &database{t: t, admin: dbserver.Open(t, server.URL, server.Admin), postgres: strings.HasPrefix(server.URL, "postgres")}
	d.exec("CREATE TABLE secretsync_items (id INT PRIMARY KEY)")
	d.exec("INSERT INTO secretsync_items VALUES (1), (2), (3)")
	d.exec("CREATE TABLE secretsync_done (n INT)")
	if d.postgres {
		d.exec("CREATE ROLE app")
		d.exec("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app")
	}
	return d
}

func (d *database) create(c pool.Credentials) {
	d.t.Helper()
	if d.postgres {
		d.exec("CREATE ROLE " + c.Username + " LOGIN PASSWORD '" + c.Password + "' IN ROLE app")
		return
	}
	d.exec("CREATE USER " + c.Username + " IDENTIFIED BY '" + c.Password + "'")
	d.exec("GRANT SELECT, INSERT ON app.* TO " + c.Username)
}

// alter changes the password of a user.
func (d *database) alter(c pool.Credentials) {
	d.t.Helper()
	if d.postgres {
		d.exec("ALTER ROLE " + c.Username + " PASSWORD '" + c.Password + "'")
		return
	}
	d.exec("ALTER USER " + c.Username + " IDENTIFIED BY '" + c.Password + "'")
}

// drop ends a user. Its sessions live on, in both databases.
func (d *database) drop(user string) {
	d.t.Helper()
	if d.postgres {
		d.exec("DROP ROLE " + user)
		return
	}
	d.exec("DROP USER " + user)
}

// sessions are the numbers of those that are neither the administrator's nor a
// present user's. PostgreSQL knows those of a dropped user by its number alone.
func (d *database) sessions(user string) (numbers []int64, err error) {
	query := "SELECT id FROM information_schema.processlist WHERE user NOT IN ('root', 'system user', 'event_scheduler', 'unauthenticated user', ?)"
	if d.postgres {
		query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND coalesce(usename, '') NOT IN ('root', $1)"
	}
	rows, err := d.admin.QueryContext(d.t.Context(), query, user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, rows.Err()
}

// waitNoOldSessions checks what the app said. It is granted the time that the server
// needs to see that a connection was closed.
func (d *database) waitNoOldSessions(user string) {
	d.t.Helper()
	st.UntilIn(d.t, time.Second, "no session of an old user is left", func() error {
		numbers, err := d.sessions(user)
		if err == nil && len(numbers) > 0 {
			err = fmt.Errorf("%d are", len(numbers))
		}
		return err
	})
}

// killOldSessions ends the sessions of all users but the administrator.
func (d *database) killOldSessions() {
	d.t.Helper()
	// Not "", which is what a dropped user is in PostgreSQL.
	numbers, err := d.sessions("root")
	if err != nil {
		d.t.Fatal(err)
	}
	kill := "KILL %d"
	if d.postgres {
		kill = "SELECT pg_terminate_backend(%d)"
	}
	for _, n := range numbers {
		_, _ = d.admin.Exec(fmt.Sprintf(kill, n)) // it may have ended by itself
	}
}

func (d *database) transactions() (n int64) {
	d.t.Helper()
	if err := d.admin.QueryRow("SELECT COUNT(*) FROM secretsync_done").Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// exec does not print the statement, which may have a password.
func (d *database) exec(statement string) {
	d.t.Helper()
	if _, err := d.admin.Exec(statement); err != nil {
		d.t.Fatalf("%.20s …: %v", statement, err)
	}
}
