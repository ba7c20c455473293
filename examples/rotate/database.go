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

// lockTimeout is the maximum wait for another run, which holds the lock for the time of a
// few statements, or while it waits for sessions to end.
const lockTimeout = 30 * time.Second

// A database changes users as the administrator. The README lists the privileges of the
// administrator.
type database struct {
	url     string
	name    string // name of the database
	dialect dialect
	pool    *sql.DB
	conn    *sql.Conn // holds the lock
}

// A dialect contains the statements of a database server.
type dialect struct {
	lock     string // takes the lock for this session and returns true
	hosts    string // lists the hosts of a user; "%" stands for every host
	sessions string // counts the sessions of a user
	create   func(database string, c pool.Credentials) ([]statement, error)
	drop     func(user string) statement
	dropHint func(err error) string // the remedy for an error of drop
}

// A statement is an SQL statement. Its String omits the secret.
type statement struct {
	sql    string
	secret string // the end of the statement
}

func (s statement) String() string {
	if s.secret == "" {
		return s.sql
	}
	return s.sql + "'…'"
}

// openDatabase connects to the database as its administrator.
func openDatabase(ctx context.Context, address string, admin pool.Credentials) (*database, error) {
	connector, err := pool.Connector(address, admin)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("parse the database URL: invalid syntax") // err quotes the URL
	}
	d := &database{url: address, name: strings.TrimPrefix(u.Path, "/"), pool: sql.OpenDB(connector), dialect: mariadb}
	if strings.HasPrefix(u.Scheme, "postgres") {
		d.dialect = postgres
	}
	d.pool.SetMaxIdleConns(-1) // unlock must close its connection
	if err := d.pool.PingContext(ctx); err != nil {
		d.pool.Close()
		return nil, fmt.Errorf("connect to %s as %s: %w", u.Host, admin, err)
	}
	return d, nil
}

func (d *database) close() { d.pool.Close() }

// lock opens the connection for all other methods and takes the lock. The lock ends with
// the connection, so no statement succeeds after the lock is lost.
func (d *database) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	if d.conn, err = d.pool.Conn(ctx); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	var locked sql.NullBool
	if err := d.conn.QueryRowContext(ctx, d.dialect.lock).Scan(&locked); err != nil || !locked.Bool {
		d.conn.Close()
		return nil, fmt.Errorf("take the lock, which another run may hold: %w", errors.Join(err, ctx.Err()))
	}
	return func() { d.conn.Close() }, nil
}

// exists reports whether user exists for every host. It fails if the user exists for a
// single host: in MariaDB, app_b@localhost takes precedence over app_b@%.
func (d *database) exists(ctx context.Context, user string) (bool, error) {
	rows, err := d.conn.QueryContext(ctx, d.dialect.hosts, user)
	if err != nil {
		return false, fmt.Errorf("look up user %s: %w", user, err)
	}
	defer rows.Close()
	found := false
	for rows.Next() {
		var host string
		if err := rows.Scan(&host); err != nil {
			return false, fmt.Errorf("look up user %s: %w", user, err)
		}
		if host != "%" {
			return false, fmt.Errorf("%s@%s takes precedence over %s@%%: drop it or set other ROTATE_USERS",
				user, host, user)
		}
		found = true
	}
	return found, rows.Err()
}

// create creates a user with the privileges of the app. If a later statement fails, it
// drops the user again, which no other process knows yet.
func (d *database) create(ctx context.Context, c pool.Credentials) error {
	statements, err := d.dialect.create(d.name, c)
	if err != nil {
		return err
	}
	for i, s := range statements {
		if err := d.exec(ctx, s); err != nil {
			if i > 0 {
				err = errors.Join(err, d.drop(ctx, c.Username))
			}
			return fmt.Errorf("create user %s: %w", c, err)
		}
	}
	return nil
}

// drop drops a user, who must exist.
func (d *database) drop(ctx context.Context, user string) error {
	err := d.exec(ctx, d.dialect.drop(user))
	if err != nil {
		return fmt.Errorf("drop user %s: %w%s", user, err, d.dialect.dropHint(err))
	}
	return nil
}

// sessions returns the number of open sessions of a user.
func (d *database) sessions(ctx context.Context, user string) (n int, err error) {
	if err := d.conn.QueryRowContext(ctx, d.dialect.sessions, user).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the sessions of user %s: %w", user, err)
	}
	return n, nil
}

// login opens a session as a user. The caller must close it.
func (d *database) login(ctx context.Context, c pool.Credentials) (*sql.DB, error) {
	connector, err := pool.Connector(d.url, c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("connect as %s: %w", c, err)
	}
	return db, nil
}

// exec runs a statement. The error never contains its secret.
func (d *database) exec(ctx context.Context, s statement) error {
	_, err := d.conn.ExecContext(ctx, s.sql+s.secret)
	if err != nil && s.secret != "" && strings.Contains(err.Error(), strings.Trim(s.secret, "'")) {
		return errors.New(strings.ReplaceAll(err.Error(), strings.Trim(s.secret, "'"), "…"))
	}
	return err
}

// quote quotes an identifier or a literal: it doubles each quote in text.
func quote(text, quote string) string {
	return quote + strings.ReplaceAll(text, quote, quote+quote) + quote
}
