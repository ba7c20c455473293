package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// canary is a password that no output may contain.
var canary = pool.Credentials{Username: "app_b", Password: "canary"}

// TestExists_singleHost covers an account app_b@localhost, which MariaDB prefers to app_b@%. A run must fail and
// change nothing: its user app_b@% could not log in from this host, and the job would never rotate.
func TestExists_singleHost(t *testing.T) {
	s := newScene(t, embedded(t))
	db, unlock := s.locked()
	mustDo(t, db.exec(t.Context(), statement{sql: "CREATE USER app_b@localhost IDENTIFIED BY 'x'"}))
	before := s.Get("db").ResourceVersion
	unlock()
	for range 2 {
		err := s.newRun().run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "app_b@localhost takes precedence over app_b@%") {
			t.Errorf("got error %v, want the other account", err)
		}
	}
	if s.Get("db").ResourceVersion != before {
		t.Error("the run changed the Secret")
	}
	db, unlock = s.locked()
	mustDo(t, db.exec(t.Context(), statement{sql: "DROP USER app_b@localhost"}))
	unlock()
	s.mustRotate()
}

// TestCreate_laterStatementFails: no run leaves a user behind that the Secret never contained.
func TestCreate_laterStatementFails(t *testing.T) {
	s := newScene(t, embedded(t))
	a := s.newRun()
	create := a.db.dialect.create
	a.db.dialect.create = func(database string, c pool.Credentials) ([]statement, error) {
		statements, err := create(database, c)
		return append(statements, statement{sql: "GRANT nothing"}), err
	}
	if err := a.run(t.Context()); err == nil || !strings.Contains(err.Error(), "create user app_b") {
		t.Errorf("got error %v, want the failed statement", err)
	}
	if got := s.existing(); !slices.Equal(got, []string{"app_a"}) || s.inSecret() != firstUser {
		t.Errorf("users %q exist, and the Secret contains %s, want app_a", got, s.inSecret())
	}
	s.mustRotate()
}

// TestExec_omitsTheSecret: a server quotes the end of an invalid statement, and thus the password.
func TestExec_omitsTheSecret(t *testing.T) {
	db, unlock := newScene(t, embedded(t)).locked()
	defer unlock()
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
	st.Write(t, program, "#!/bin/sh\necho \"$@\" >"+seen+"\nexit 3\n")
	mustDo(t, os.Chmod(program, 0o755))
	t.Setenv("ROTATE_SECRET_SYNC", program)
	err := waitCommand("db", []string{"--direct"}).run(t.Context(), "7")
	if err == nil || err.Error() != "exit status 3" {
		t.Errorf("got error %v, want exit status 3", err)
	}
	if got := st.Read(t, seen); got != "wait --secret db --direct --version 7\n" {
		t.Errorf("got the arguments %q", got)
	}
}
