// Package accounts makes and drops users of a MySQL or PostgreSQL database, as its
// administrator. A user that was dropped cannot connect any more; Close removes all that
// was made. The package must not know when or why a user is changed, nor who connects.
package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// Database is one with two users, who may read its table secretsync_items.
type Database struct {
	URL      string    // without a user, for the app
	Users    [2]string // used alternately
	postgres bool
	admin    *sql.DB
	present  map[string]bool
	created  []string // statements that undo what was made
}

// Open connects, and makes the table. The users' names end in suffix. A Database that
// comes with an error has to be closed, too.
func Open(ctx context.Context, adminURL, suffix string) (*Database, error) {
	u, err := url.Parse(adminURL)
	if err != nil || u.User == nil {
		return nil, errors.New("the database's URL must be as mysql://USER:PASSWORD@HOST:3306/NAME")
	}
	password, _ := u.User.Password()
	admin := pool.Credentials{Username: u.User.Username(), Password: password}
	u.User = nil
	d := &Database{URL: u.String(), postgres: strings.HasPrefix(u.Scheme, "postgres"), Users: [2]string{"app_a" + suffix, "app_b" + suffix}, present: map[string]bool{}}
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
	if err := d.make(ctx, "CREATE TABLE secretsync_items (id INT PRIMARY KEY)", "DROP TABLE secretsync_items"); err != nil {
		return err
	}
	if err := d.exec(ctx, "INSERT INTO secretsync_items VALUES (1), (2), (3)"); err != nil {
		return err
	}
	return nil
}

// Other is the user that is not this one.
func (d *Database) Other(user string) string {
	if user == d.Users[0] {
		return d.Users[1]
	}
	return d.Users[0]
}

// CreateUser makes a user that may read the table.
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

// DropUser removes a user; nobody can connect as it from then on.
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

func (d *Database) name(user string) string {
	if d.postgres {
		return user
	}
	return "'" + user + "'@'%'"
}

// Refused checks that credentials do not open a connection any more.
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

func (d *Database) make(ctx context.Context, statement, undo string) error {
	if err := d.exec(ctx, statement); err != nil {
		return err
	}
	d.created = append(d.created, undo)
	return nil
}

// exec runs a statement; the error has its first words only, since the rest may
// be a password.
func (d *Database) exec(ctx context.Context, statement string) error {
	if _, err := d.admin.ExecContext(ctx, statement); err != nil {
		words := strings.Fields(statement)
		return fmt.Errorf("%s …: %w", strings.Join(words[:min(3, len(words))], " "), err)
	}
	return nil
}

// Close removes what was made, which matters in a real database only.
func (d *Database) Close() error {
	var errs error
	for user := range d.present {
		errs = errors.Join(errs, d.DropUser(context.Background(), user))
	}
	for i := len(d.created) - 1; i >= 0; i-- {
		errs = errors.Join(errs, d.exec(context.Background(), d.created[i]))
	}
	return errors.Join(errs, d.admin.Close())
}
