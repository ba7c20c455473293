// Package accounts creates and drops users of a MySQL or PostgreSQL database as its
// administrator. A dropped user can no longer connect. Close removes everything again.
// The package does not know when or why users change, or who connects.
package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// A Database contains the table secretsync_items and up to two users, who may read it.
type Database struct {
	URL      string    // without a user, for the app
	Users    [2]string // used alternately
	postgres bool
	admin    *sql.DB
	present  map[string]bool
	undo     []string // statements for Close, in the order of creation
}

// Open connects and creates the table. The names of the users end in suffix. If Open
// returns both a Database and an error, the caller must close the Database.
func Open(ctx context.Context, adminURL, suffix string) (*Database, error) {
	u, err := url.Parse(adminURL)
	if err != nil || u.User == nil {
		return nil, errors.New("parse the database URL: must have the form mysql://USER:PASSWORD@HOST:3306/NAME")
	}
	password, _ := u.User.Password()
	admin := pool.Credentials{Username: u.User.Username(), Password: password}
	u.User = nil
	d := &Database{
		URL:      u.String(),
		postgres: strings.HasPrefix(u.Scheme, "postgres"),
		Users:    [2]string{"app_a" + suffix, "app_b" + suffix},
		present:  map[string]bool{},
	}
	connector, err := pool.Connector(d.URL, admin)
	if err != nil {
		return nil, err
	}
	d.admin = sql.OpenDB(connector)
	if err := d.admin.PingContext(ctx); err != nil {
		d.admin.Close()
		return nil, fmt.Errorf("connect to %s as %s: %w", u.Host, admin, err)
	}
	return d, d.create(ctx)
}

func (d *Database) create(ctx context.Context) error {
	if err := d.exec(ctx, "CREATE TABLE secretsync_items (id INT PRIMARY KEY)"); err != nil {
		return err
	}
	d.undo = append(d.undo, "DROP TABLE secretsync_items")
	return d.exec(ctx, "INSERT INTO secretsync_items VALUES (1), (2), (3)")
}

// Other returns the other of the two users.
func (d *Database) Other(user string) string {
	if user == d.Users[0] {
		return d.Users[1]
	}
	return d.Users[0]
}

// CreateUser creates a user with read access to the table.
func (d *Database) CreateUser(ctx context.Context, c pool.Credentials) error {
	create := "CREATE USER " + d.name(c.Username) + " IDENTIFIED BY "
	if d.postgres {
		create = "CREATE ROLE " + c.Username + " LOGIN PASSWORD "
	}
	if err := d.exec(ctx, create+"'"+c.Password+"'"); err != nil {
		return err
	}
	d.present[c.Username] = true
	return d.exec(ctx, "GRANT SELECT ON secretsync_items TO "+d.name(c.Username))
}

// DropUser drops a user, who can no longer connect.
func (d *Database) DropUser(ctx context.Context, user string) error {
	if d.postgres {
		if err := d.exec(ctx, "DROP OWNED BY "+user); err != nil {
			return err
		}
	}
	drop := "DROP USER "
	if d.postgres {
		drop = "DROP ROLE "
	}
	err := d.exec(ctx, drop+d.name(user))
	delete(d.present, user)
	return err
}

// name returns the user as statements refer to it.
func (d *Database) name(user string) string {
	if d.postgres {
		return user
	}
	return "'" + user + "'@'%'"
}

// Refused returns an error if c still opens a connection.
func (d *Database) Refused(ctx context.Context, c pool.Credentials) error {
	connector, err := pool.Connector(d.URL, c)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if db.PingContext(ctx) == nil {
		return fmt.Errorf("the old password of %s still works", c)
	}
	return ctx.Err()
}

// exec runs a statement. An error contains the first three words of the statement,
// because the rest may contain a password.
func (d *Database) exec(ctx context.Context, statement string) error {
	if _, err := d.admin.ExecContext(ctx, statement); err != nil {
		words := strings.Fields(statement)
		return fmt.Errorf("%s …: %w", strings.Join(words[:min(3, len(words))], " "), err)
	}
	return nil
}

// Close drops the users and the table.
func (d *Database) Close() error {
	var errs error
	for user := range d.present {
		errs = errors.Join(errs, d.DropUser(context.Background(), user))
	}
	for _, statement := range slices.Backward(d.undo) {
		errs = errors.Join(errs, d.exec(context.Background(), statement))
	}
	return errors.Join(errs, d.admin.Close())
}
