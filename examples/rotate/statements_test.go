package main

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// odd contains every character that a statement must quote.
var odd = pool.Credentials{Username: "app`\"'b", Password: `p"w'`}

// texts returns the statements with their secrets.
func texts(statements ...statement) (all []string) {
	for _, s := range statements {
		all = append(all, s.sql+s.secret)
	}
	return all
}

// TestMariaDB_statements: identifiers, the password and the pattern of the database are quoted.
func TestMariaDB_statements(t *testing.T) {
	create, err := mariadb.create("my_%`app\\", odd)
	mustDo(t, err)
	want := []string{
		"CREATE USER `app``\"'b`@`%` IDENTIFIED BY 'p\"w'''",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON `my\\_\\%``app\\\\`.* TO `app``\"'b`@`%`",
		"DROP USER `app``\"'b`@`%`",
	}
	if got := texts(append(create, mariadb.drop(odd.Username))...); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestPostgreSQL_statements: the statement contains the verifier in place of the password, the
// sessions act as the role of the database, and all names are quoted.
func TestPostgreSQL_statements(t *testing.T) {
	create, err := postgres.create(`my"app'`, odd)
	mustDo(t, err)
	got := texts(append(create, postgres.drop(odd.Username))...)
	prefix, verifier, _ := strings.Cut(got[0], "SCRAM-SHA-256$")
	got[0] = prefix
	want := []string{
		"CREATE ROLE \"app`\"\"'b\" LOGIN IN ROLE \"my\"\"app'\" PASSWORD '",
		"ALTER ROLE \"app`\"\"'b\" SET role TO 'my\"app'''",
		"DROP ROLE \"app`\"\"'b\"",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	iterations, salt, _ := strings.Cut(strings.Split(verifier, "$")[0], ":")
	expected, err := scramVerifierWithSalt(odd.Password, decode(t, salt))
	mustDo(t, err)
	if iterations != "4096" || "SCRAM-SHA-256$"+verifier != expected+"'" {
		t.Error("the statement does not contain the verifier of the password")
	}
	if strings.Contains(create[0].String(), "SCRAM") {
		t.Errorf("the text of the statement contains its secret: %s", create[0])
	}
}

// TestSCRAMVerifier_salt: two verifiers of the same password differ, so a verifier in a log
// does not reveal equal passwords.
func TestSCRAMVerifier_salt(t *testing.T) {
	first, err := scramVerifier("pencil")
	mustDo(t, err)
	second, err := scramVerifier("pencil")
	mustDo(t, err)
	salt, _, _ := strings.Cut(strings.TrimPrefix(first, "SCRAM-SHA-256$4096:"), "$")
	if raw, err := base64.StdEncoding.DecodeString(salt); first == second || err != nil || len(raw) != 16 {
		t.Errorf("got the verifiers %q and %q, want random salts of 16 bytes", first, second)
	}
}
