package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// lockTimeout is for another run, which needs some milliseconds.
const lockTimeout = 30 * time.Second

// database is what a rotation does to a database as its administrator, with the
// privileges that the README lists. It is one connection, which holds the lock.
type database struct {
	pool     *sql.DB
	conn     *sql.Conn
	name     string // of the database, for the grants
	postgres bool
}

func openDatabase(ctx context.Context, address string, admin pool.Credentials) (*database, error) {
	connector, err := pool.Connector(address, admin)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed")
	}
	d := &database{pool: sql.OpenDB(connector), name: strings.TrimPrefix(u.Path, "/"), postgres: strings.HasPrefix(u.Scheme, "postgres")}
	if d.conn, err = d.pool.Conn(ctx); err != nil {
		d.pool.Close()
		return nil, fmt.Errorf("connect to %s as %s: %w", u.Host, admin, err)
	}
	return d, nil
}

func (d *database) close() {
	d.conn.Close()
	d.pool.Close()
}

// lock is held by one run at a time. It ends with the connection, too.
func (d *database) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	query, release := "SELECT GET_LOCK('secret-sync-rotate', 30) = 1", "SELECT RELEASE_LOCK('secret-sync-rotate')"
	if d.postgres {
		query, release = "SELECT pg_advisory_lock(7265746174) IS NOT NULL", "SELECT pg_advisory_unlock(7265746174)"
	}
	var got sql.NullBool
	if err := d.conn.QueryRowContext(ctx, query).Scan(&got); err != nil || !got.Bool {
		return nil, fmt.Errorf("another rotation has the lock: %w", errors.Join(err, ctx.Err()))
	}
	return func() { _, _ = d.conn.ExecContext(context.Background(), release) }, nil
}

func (d *database) exists(ctx context.Context, user string) (bool, error) {
	query := "SELECT COUNT(*) FROM mysql.user WHERE User = ?"
	if d.postgres {
		query = "SELECT COUNT(*) FROM pg_roles WHERE rolname = $1"
	}
	var n int
	if err := d.conn.QueryRowContext(ctx, query, user).Scan(&n); err != nil {
		return false, fmt.Errorf("look for the user %s: %w", user, err)
	}
	return n > 0, nil
}

// create makes a user with what the app may do. In PostgreSQL that is what the
// role of the database's name may do, which owns the tables and cannot log in.
func (d *database) create(ctx context.Context, c pool.Credentials) error {
	statements := []string{
		"CREATE USER " + d.quote(c.Username) + " IDENTIFIED BY '" + c.Password + "'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON " + d.name + ".* TO " + d.quote(c.Username),
	}
	if d.postgres {
		statements = []string{"CREATE ROLE " + d.quote(c.Username) + " LOGIN PASSWORD '" + c.Password + "' IN ROLE " + d.quote(d.name)}
	}
	for _, statement := range statements {
		if _, err := d.conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make the user %s: %w", c, err)
		}
	}
	return nil
}

// drop removes a user, if it is there.
func (d *database) drop(ctx context.Context, user string) error {
	kind := "USER"
	if d.postgres {
		kind = "ROLE"
	}
	if _, err := d.conn.ExecContext(ctx, "DROP "+kind+" IF EXISTS "+d.quote(user)); err != nil {
		return fmt.Errorf("drop the user %s: %w", user, err)
	}
	return nil
}

// quote makes an identifier. Both users are of the environment, so they are those
// of an administrator.
func (d *database) quote(name string) string {
	if d.postgres {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return "'" + strings.ReplaceAll(name, "'", "''") + "'@'%'"
}
