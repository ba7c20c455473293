package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
)

// The tests of this package call single functions. test/suites/rotate runs the program.

var (
	appA   = pool.Credentials{Username: "app_a", Password: "first"}
	canary = pool.Credentials{Username: "app_b", Password: "canary"} // no output may contain the password
)

// locked starts the database of the quickstart and takes the lock.
func locked(t *testing.T) *database {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, err)
	go mysqlserver.Serve(t.Context(), l, "root", "root")
	admin := pool.Credentials{Username: "root", Password: "root"}
	db, err := openDatabase(t.Context(), "mysql://"+l.Addr().String()+"/"+mysqlserver.Database, admin)
	mustDo(t, err)
	t.Cleanup(db.close)
	unlock, err := db.lock(t.Context())
	mustDo(t, err)
	t.Cleanup(unlock)
	return db
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantExists checks whether a user exists.
func wantExists(t *testing.T, db *database, user string, want bool) {
	t.Helper()
	if got, err := db.exists(t.Context(), user); got != want || err != nil {
		t.Errorf("user %s exists: got %v, %v, want %v", user, got, err, want)
	}
}

// TestCreate_laterStatementFails: no run leaves a user behind that the Secret never contained.
func TestCreate_laterStatementFails(t *testing.T) {
	db := locked(t)
	create := db.dialect.create
	db.dialect.create = func(database string, c pool.Credentials) ([]statement, error) {
		statements, err := create(database, c)
		return append(statements, statement{sql: "GRANT nothing"}), err
	}
	if err := db.create(t.Context(), canary); err == nil || !strings.Contains(err.Error(), "create user app_b") {
		t.Errorf("got error %v, want the failed statement", err)
	}
	wantExists(t, db, "app_b", false)
}

// TestDrop_missingUser: the statement fails without the user.
func TestDrop_missingUser(t *testing.T) {
	db := locked(t)
	mustDo(t, db.create(t.Context(), appA))
	mustDo(t, db.drop(t.Context(), "app_a"))
	if db.drop(t.Context(), "app_a") == nil {
		t.Error("the statement succeeds without the user")
	}
}

// TestFinish_noSessionsOfOthers covers an administrator who sees no session of other users. A run must drop nobody. In
// the embedded database, every user sees all sessions.
func TestFinish_noSessionsOfOthers(t *testing.T) {
	db := locked(t)
	mustDo(t, db.create(t.Context(), appA))
	mustDo(t, db.create(t.Context(), canary))
	db.conn.Close() // finish takes the lock
	db.dialect.sessions = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = CONCAT(?, '_')"
	r := &rotation{db: db, secret: "db", out: t.Output()}
	err := r.finish(t.Context(), state{current: canary, other: "app_a"})
	const want = "keeping user app_a: the administrator cannot see sessions of other users"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
	unlock, err := db.lock(t.Context())
	mustDo(t, err)
	defer unlock()
	wantExists(t, db, "app_a", true)
}

// TestExec_omitsTheSecret: a server quotes the end of an invalid statement, and thus the password.
func TestExec_omitsTheSecret(t *testing.T) {
	db := locked(t)
	invalid := statement{sql: "GRANT ", secret: quote(canary.Password, "'")}
	_, raw := db.conn.ExecContext(t.Context(), invalid.sql+invalid.secret)
	if raw == nil || !strings.Contains(raw.Error(), canary.Password) {
		t.Fatalf("got error %v, want the end of the statement", raw)
	}
	if err := db.exec(t.Context(), invalid); err == nil || strings.Contains(err.Error(), canary.Password) {
		t.Errorf("got error %v, want an error without the password", err)
	}
}

// TestWaitCommand_version: the job waits for the version of its own update. A later version may contain other data.
func TestWaitCommand_version(t *testing.T) {
	dir := t.TempDir()
	program, seen := filepath.Join(dir, "secret-sync"), filepath.Join(dir, "seen")
	mustDo(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\" >"+seen+"\nexit 3\n"), 0o755))
	t.Setenv("ROTATE_SECRET_SYNC", program)
	err := waitCommand("db", []string{"--direct"}).run(t.Context(), "7")
	if err == nil || err.Error() != "exit status 3" {
		t.Errorf("got error %v, want exit status 3", err)
	}
	text, err := os.ReadFile(seen)
	if got := string(text); err != nil || got != "wait --secret db --direct --version 7\n" {
		t.Errorf("got the arguments %q, %v", got, err)
	}
}
