//go:build programs

package recipes

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// A database changes the users of a server as its administrator.
type database interface {
	create(pool.Credentials)
	alter(pool.Credentials) // changes the password of a user
	drop(user string)
	// sessions returns the IDs of the sessions of all users except user and the administrator.
	sessions(user string) (ids []int64, err error)
	killOldSessions()    // ends the sessions of all users except the administrator
	transactions() int64 // number of committed transactions of the load
}

// newDatabase prepares a server for the load.
func newDatabase(t *testing.T, server *dbserver.Server) database {
	t.Helper()
	if strings.HasPrefix(server.URL, "redis") {
		return newRedisUsers(t, server)
	}
	return newSQLUsers(t, server)
}

// waitNoOldSessions checks whether the app has closed all old connections, as it claims.
// The server needs a moment to notice a closed connection.
func (w *world) waitNoOldSessions(user string) {
	w.t.Helper()
	testsupport.EventuallyWithin(w.t, time.Second, "no session of an old user remains", func() error {
		ids, err := w.db.sessions(user)
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("%d sessions remain", len(ids))
		}
		return err
	})
}

// sqlUsers is MariaDB or PostgreSQL for its administrator.
type sqlUsers struct {
	t        *testing.T
	admin    *sql.DB
	postgres bool
}

// newSQLUsers creates the tables. In PostgreSQL it also creates the role app, and all users
// are members of this role.
func newSQLUsers(t *testing.T, server *dbserver.Server) *sqlUsers {
	t.Helper()
	d := &sqlUsers{t: t, admin: dbserver.Open(t, server.URL, server.Admin)}
	d.postgres = strings.HasPrefix(server.URL, "postgres")
	d.exec("CREATE TABLE secretsync_items (id INT PRIMARY KEY)")
	d.exec("INSERT INTO secretsync_items VALUES (1), (2), (3)")
	d.exec("CREATE TABLE secretsync_done (n INT)")
	if d.postgres {
		d.exec("CREATE ROLE app")
		d.exec("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app")
	}
	return d
}

func (d *sqlUsers) create(c pool.Credentials) {
	d.t.Helper()
	if d.postgres {
		d.exec("CREATE ROLE " + c.Username + " LOGIN PASSWORD '" + c.Password + "' IN ROLE app")
		return
	}
	d.exec("CREATE USER " + c.Username + " IDENTIFIED BY '" + c.Password + "'")
	d.exec("GRANT SELECT, INSERT ON app.* TO " + c.Username)
}

// alter changes the password of a user.
func (d *sqlUsers) alter(c pool.Credentials) {
	d.t.Helper()
	if d.postgres {
		d.exec("ALTER ROLE " + c.Username + " PASSWORD '" + c.Password + "'")
		return
	}
	d.exec("ALTER USER " + c.Username + " IDENTIFIED BY '" + c.Password + "'")
}

// drop drops a user. In both databases, the sessions of a dropped user continue.
func (d *sqlUsers) drop(user string) {
	d.t.Helper()
	if d.postgres {
		d.exec("DROP ROLE " + user)
		return
	}
	d.exec("DROP USER " + user)
}

// sessions returns the IDs of the sessions of all users except user and the administrator.
// In PostgreSQL, a session of a dropped user has no user name.
func (d *sqlUsers) sessions(user string) (ids []int64, err error) {
	query := `SELECT id FROM information_schema.processlist
		WHERE user NOT IN ('root', 'system user', 'event_scheduler', 'unauthenticated user', ?)`
	if d.postgres {
		query = `SELECT pid FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND coalesce(usename, '') NOT IN ('root', $1)`
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
		ids = append(ids, n)
	}
	return ids, rows.Err()
}

// killOldSessions ends the sessions of all users except the administrator.
func (d *sqlUsers) killOldSessions() {
	d.t.Helper()
	ids, err := d.sessions("root") // not "", the user of a dropped user's session in PostgreSQL
	if err != nil {
		d.t.Fatal(err)
	}
	kill := "KILL %d"
	if d.postgres {
		kill = "SELECT pg_terminate_backend(%d)"
	}
	for _, id := range ids {
		_, _ = d.admin.Exec(fmt.Sprintf(kill, id)) // the session may have ended already
	}
}

// transactions returns the number of committed transactions of the load.
func (d *sqlUsers) transactions() (n int64) {
	d.t.Helper()
	if err := d.admin.QueryRow("SELECT COUNT(*) FROM secretsync_done").Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// exec runs a statement. An error contains its first 20 characters, because the rest may
// contain a password.
func (d *sqlUsers) exec(statement string) {
	d.t.Helper()
	if _, err := d.admin.Exec(statement); err != nil {
		d.t.Fatalf("%.20s …: %v", statement, err)
	}
}
