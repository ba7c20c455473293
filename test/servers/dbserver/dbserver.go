// Package dbserver starts the MariaDB, PostgreSQL and Redis servers of Debian for tests. Each
// contains the administrator "root". MariaDB and PostgreSQL contain the empty database "app".
package dbserver

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// A Server is a running database server.
type Server struct {
	URL   string // without a user, as pool.Connector takes it
	Addr  string // HOST:PORT
	Admin pool.Credentials
	Log   *testsupport.Log // output of the server
}

const adminPassword = "root"

var admin = pool.Credentials{Username: "root", Password: adminPassword}

// MariaDB starts MariaDB and stops it at the end of the test.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	dir, account := newDir(t, "mysql")
	data := filepath.Join(dir, "data")
	// At its start, MariaDB removes the temporary tables of other servers in the same tmpdir.
	temporary := "--tmpdir=" + dir
	run(t, account, need(t, "mariadb-install-db", "mariadb-server"), "--no-defaults", "--datadir="+data, temporary,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	initial := filepath.Join(dir, "init.sql")
	statements := strings.Join([]string{ // --init-file requires a line per statement
		"CREATE DATABASE app;",
		"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '" + adminPassword + "';",
		"GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;",
	}, "\n") + "\n"
	if err := os.WriteFile(initial, []byte(statements), 0o644); err != nil {
		t.Fatal(err)
	}
	addr := childprocess.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	s := &Server{URL: "mysql://" + addr + "/app", Addr: addr, Admin: admin}
	s.serve(t, account, s.login(t), need(t, "mariadbd", "mariadb-server"), "--no-defaults",
		"--datadir="+data, temporary,
		"--bind-address=127.0.0.1", "--port="+port, "--socket="+filepath.Join(dir, "sock"),
		"--init-file="+initial, "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0")
	return s
}

// PostgreSQL starts PostgreSQL and stops it at the end of the test.
func PostgreSQL(t testing.TB) *Server {
	t.Helper()
	dir, account := newDir(t, "postgres")
	data, password := filepath.Join(dir, "data"), filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(adminPassword), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, account, needPostgres(t, "initdb"), "-D", data, "-U", "root", "-A", "scram-sha-256",
		"--pwfile="+password, "-N", "-E", "UTF8", "--locale=C")
	addr := childprocess.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	s := &Server{URL: "postgres://" + addr + "/postgres", Addr: addr, Admin: admin}
	s.serve(t, account, s.login(t), needPostgres(t, "postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir,
		"-F")
	db := Open(t, s.URL, s.Admin)
	if _, err := db.Exec("CREATE DATABASE app"); err != nil {
		t.Fatal(err)
	}
	s.URL = "postgres://" + addr + "/app"
	return s
}

// login returns a function that logs in as the administrator of a database. It keeps no session: PostgreSQL would wait
// for its end at a SIGTERM.
func (s *Server) login(t testing.TB) func() error {
	return func() error {
		db := Open(t, s.URL, s.Admin)
		defer db.Close()
		return db.Ping()
	}
}

// serve starts the server and waits until ping succeeds.
func (s *Server) serve(
	t testing.TB, account *syscall.Credential, ping func() error, path string, args ...string,
) {
	t.Helper()
	log := &testsupport.Log{}
	s.Log = log
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	p, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(20 * time.Second) })
	for deadline := time.Now().Add(time.Minute); ; {
		if err := ping(); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v\n%s", filepath.Base(path), err, log.Tail(20))
		}
		select {
		case <-p.Done():
			t.Fatalf("%s ended: %s\n%s", filepath.Base(path), p.State(), log.Tail(20))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// newDir creates a directory for the account of the server. Neither server runs as root.
func newDir(t testing.TB, name string) (string, *syscall.Credential) {
	t.Helper()
	dir, err := os.MkdirTemp("", "secret-sync-db-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Geteuid() != 0 {
		return dir, nil
	}
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func run(t testing.TB, account *syscall.Credential, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(path), err, bytes.TrimSpace(out))
	}
}

func need(t testing.TB, name, debianPackage string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/usr/bin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	t.Fatalf("this test needs %s: apt-get install -y --no-install-recommends %s", name, debianPackage)
	return ""
}

func needPostgres(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		t.Fatalf("this test needs %s: apt-get install -y --no-install-recommends postgresql-15", name)
	}
	return found[len(found)-1]
}
