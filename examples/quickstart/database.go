package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
	"github.com/secret-sync/secret-sync/examples/internal/mysqlserver"
)

// databaseCommand makes this binary the embedded database server.
const databaseCommand = "embedded-database"

const adminPasswordVariable = "QUICKSTART_ADMIN_PASSWORD"

// databaseMain serves on the socket that was handed over as descriptor 3.
func databaseMain() int {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err == nil {
		err = mysqlserver.Serve(context.Background(), l, "root", os.Getenv(adminPasswordVariable))
	}
	fmt.Fprintln(os.Stderr, "database:", err)
	return 1
}

// startDatabase runs the embedded server as a process of its own and gives the
// administrator's URL.
func startDatabase(log *childprocess.Log) (*childprocess.Process, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	password := rand.Text()
	cmd := exec.Command(self, databaseCommand)
	cmd.Env = append(os.Environ(), adminPasswordVariable+"="+password)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := childprocess.Start(cmd)
	return p, fmt.Sprintf("mysql://root:%s@%s/%s", password, l.Addr(), mysqlserver.Database), err
}

// database is what the quickstart does to a database as its administrator.
type database struct {
	url      string // without a user, for the app
	postgres bool
	admin    *sql.DB
	users    [2]string // used alternately
	present  map[string]bool
	created  []string // statements that undo what was made
}

// openDatabase connects, and makes the table.
func openDatabase(ctx context.Context, adminURL, suffix string) (*database, error) {
	u, err := url.Parse(adminURL)
	if err != nil || u.User == nil {
		return nil, errors.New("the database's URL must be as mysql://USER:PASSWORD@HOST:3306/NAME")
	}
	password, _ := u.User.Password()
	admin := pool.Credentials{Username: u.User.Username(), Password: password}
	u.User = nil
	d := &database{url: u.String(), postgres: strings.HasPrefix(u.Scheme, "postgres"), users: [2]string{"app_a" + suffix, "app_b" + suffix}, present: map[string]bool{}}
	connector, err := pool.Connector(d.url, admin)
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

func (d *database) create(ctx context.Context) error {
	if err := d.make(ctx, "CREATE TABLE secretsync_items (id INT PRIMARY KEY)", "DROP TABLE secretsync_items"); err != nil {
		return err
	}
	if err := d.exec(ctx, "INSERT INTO secretsync_items VALUES (1), (2), (3)"); err != nil {
		return err
	}
	return nil
}

// other is the user that is not this one.
func (d *database) other(user string) string {
	if user == d.users[0] {
		return d.users[1]
	}
	return d.users[0]
}

// createUser makes a user that may read the table.
func (d *database) createUser(ctx context.Context, c pool.Credentials) error {
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

// dropUser removes a user; nobody can connect as it from then on.
func (d *database) dropUser(ctx context.Context, user string) error {
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

func (d *database) name(user string) string {
	if d.postgres {
		return user
	}
	return "'" + user + "'@'%'"
}

// refused checks that credentials do not open a connection any more.
func (d *database) refused(ctx context.Context, c pool.Credentials) error {
	connector, err := pool.Connector(d.url, c)
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

func (d *database) make(ctx context.Context, statement, undo string) error {
	if err := d.exec(ctx, statement); err != nil {
		return err
	}
	d.created = append(d.created, undo)
	return nil
}

// exec runs a statement; the error has its first words only, since the rest may
// be a password.
func (d *database) exec(ctx context.Context, statement string) error {
	if _, err := d.admin.ExecContext(ctx, statement); err != nil {
		words := strings.Fields(statement)
		return fmt.Errorf("%s …: %w", strings.Join(words[:min(3, len(words))], " "), err)
	}
	return nil
}

// close removes what was made, which matters in a real database only.
func (d *database) close() error {
	var errs error
	for user := range d.present {
		errs = errors.Join(errs, d.dropUser(context.Background(), user))
	}
	for i := len(d.created) - 1; i >= 0; i-- {
		errs = errors.Join(errs, d.exec(context.Background(), d.created[i]))
	}
	return errors.Join(errs, d.admin.Close())
}
