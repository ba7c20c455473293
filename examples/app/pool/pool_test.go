package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
)

// fixture is a database with the users a and b, and the directory of a Secret.
type fixture struct {
	url, dir string
	admin    *sql.DB
	n        int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go mysqlserver.Serve(t.Context(), l, "root", "root-password")
	f := &fixture{url: "mysql://" + l.Addr().String() + "/" + mysqlserver.Database, dir: t.TempDir()}
	f.admin = open(t, f.url, Credentials{"root", "root-password"})
	for _, user := range []string{"a", "b"} {
		f.exec(t, fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s-1'", user, user))
		f.exec(t, fmt.Sprintf("GRANT SELECT ON app.* TO '%s'@'%%'", user))
	}
	f.publish(t, "a", "a-1")
	return f
}

func open(t *testing.T, url string, c Credentials) *sql.DB {
	t.Helper()
	connector, err := Connector(url, c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

func (f *fixture) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := f.admin.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// publish replaces the files as the sidecar does, with a rename of ..data.
func (f *fixture) publish(t *testing.T, username, password string) {
	t.Helper()
	f.n++
	if err := publish(f.dir, f.n, username, password); err != nil {
		t.Fatal(err)
	}
}

func publish(dir string, n int, username, password string) error {
	generation := fmt.Sprintf("..%d", n)
	link := filepath.Join(dir, "..data_tmp")
	return errors.Join(
		os.Mkdir(filepath.Join(dir, generation), 0o755),
		os.WriteFile(filepath.Join(dir, generation, "username"), []byte(username), 0o644),
		os.WriteFile(filepath.Join(dir, generation, "password"), []byte(password+"\n"), 0o644),
		os.Symlink(generation, link),
		os.Rename(link, filepath.Join(dir, "..data")),
	)
}

func (f *fixture) open(t *testing.T) *Pool {
	t.Helper()
	p, err := Open(t.Context(), Options{Database: f.url, Dir: f.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func user(t *testing.T, p *Pool) (name string) {
	t.Helper()
	err := p.Use(func(db *sql.DB) error { return db.QueryRow("SELECT SUBSTRING_INDEX(USER(), '@', 1)").Scan(&name) })
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReload_keepsThePoolUntilNewCredentialsWork reloads five times in a row and checks
// the user of the connections after each reload.
func TestReload_keepsThePoolUntilNewCredentialsWork(t *testing.T) {
	f := newFixture(t)
	p := f.open(t)
	steps := []struct {
		name               string
		username, password string
		changed, fails     bool
		want               string
	}{
		{"unchanged", "a", "a-1", false, false, "a"},
		{"the other user", "b", "b-1", true, false, "b"},
		{"a wrong password keeps the old pool", "a", "wrong", false, true, "b"},
		{"no such user keeps the old pool", "nobody", "x", false, true, "b"},
		{"good again", "a", "a-1", true, false, "a"},
	}
	for _, s := range steps {
		f.publish(t, s.username, s.password)
		changed, err := p.Reload(t.Context())
		if changed != s.changed || (err != nil) != s.fails {
			t.Errorf("%s: changed %v, %v; want %v, failing %v", s.name, changed, err, s.changed, s.fails)
		}
		if got := user(t, p); got != s.want || p.Status().User != s.want {
			t.Errorf("%s: connected as %s, status %s, want %s", s.name, got, p.Status().User, s.want)
		}
	}
}

// TestReload_withoutFiles covers missing files. The pool must stay usable.
func TestReload_withoutFiles(t *testing.T) {
	f := newFixture(t)
	p := f.open(t)
	if err := os.Remove(filepath.Join(f.dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Reload(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Reload: %v, want os.ErrNotExist", err)
	}
	if got := user(t, p); got != "a" {
		t.Errorf("connected as %s, want a", got)
	}
}

// TestReload_drainsTheOldPool covers a query during a reload. The query must succeed
// although the password of its user changes, and the old pool must close after it.
func TestReload_drainsTheOldPool(t *testing.T) {
	f := newFixture(t)
	p := f.open(t)
	running, finish, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	var old *sql.DB
	go func() {
		ended <- p.Use(func(db *sql.DB) error {
			old = db
			conn, err := db.Conn(context.Background())
			if err != nil {
				return err
			}
			defer conn.Close()
			close(running)
			<-finish
			return conn.PingContext(context.Background())
		})
	}()
	<-running
	f.publish(t, "b", "b-1")
	if changed, err := p.Reload(t.Context()); !changed || err != nil {
		t.Fatalf("Reload: %v, %v", changed, err)
	}
	f.exec(t, "ALTER USER 'a'@'%' IDENTIFIED BY 'a-2'")
	if got := user(t, p); got != "b" {
		t.Errorf("during the drain: connected as %s, want b", got)
	}
	if got := p.Status().Draining; got != 1 {
		t.Errorf("draining %d, want 1", got)
	}
	close(finish)
	if err := <-ended; err != nil {
		t.Errorf("the running query: %v", err)
	}
	waitClosed(t, p, old)
}

func waitClosed(t *testing.T, p *Pool, old *sql.DB) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); p.Status().Draining != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the old pool was not closed")
		}
	}
	if err := old.Ping(); err == nil {
		t.Error("the old pool still connects")
	}
}

// TestReadCredentials_neverMixesGenerations reads while another goroutine publishes 2,000
// generations. The user name and the password must always come from the same generation.
func TestReadCredentials_neverMixesGenerations(t *testing.T) {
	dir := t.TempDir()
	if err := publish(dir, 0, "0", "0"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for n := 1; n < 2000; n++ {
			if err := publish(dir, n, fmt.Sprint(n), fmt.Sprint(n)); err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	for reads := 0; ; reads++ {
		c, err := ReadCredentials(dir)
		if err != nil || c.Username != c.Password {
			t.Fatalf("read %d: user %q, password %q, %v", reads, c.Username, c.Password, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

// TestFollow_reportsARotation checks the first report of Follow and the report after a
// rotation.
func TestFollow_reportsARotation(t *testing.T) {
	dir := t.TempDir()
	if err := publish(dir, 1, "a", "1"); err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 1)
	go Follow(t.Context(), dir, changed)
	<-changed // the watch works
	if err := publish(dir, 2, "a", "2"); err != nil {
		t.Fatal(err)
	}
	<-changed
	if c, err := ReadCredentials(dir); err != nil || c.Password != "2" {
		t.Errorf("after the rotation: %v, %v", c, err)
	}
}

// TestCredentials_formatWithoutThePassword prints Credentials with each verb of fmt.
func TestCredentials_formatWithoutThePassword(t *testing.T) {
	c := Credentials{"user", "canary"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, c); got != "user" {
			t.Errorf("%s: %q, want user", format, got)
		}
	}
}

// TestConnector_checksTheURL lists accepted and rejected URLs.
func TestConnector_checksTheURL(t *testing.T) {
	for url, good := range map[string]bool{
		"mysql://127.0.0.1:3306/app":                      true,
		"mysql://db/app?tls=true":                         true,
		"postgres://127.0.0.1:5432/app?sslmode=disable":   true,
		"postgresql://db.example/app":                     true,
		"oracle://db/app":                                 false,
		"mysql://db/app?timeout=x":                        false,
		"postgres://db/app?sslmode=perhaps":               false,
		"127.0.0.1:3306":                                  false,
		"mysql://" + string(rune(0x7f)) + "password@db/x": false,
	} {
		if _, err := Connector(url, Credentials{"u", "p"}); (err == nil) != good {
			t.Errorf("%s: %v, want good %v", url, err, good)
		}
	}
}
