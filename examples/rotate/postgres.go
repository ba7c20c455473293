package main

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// postgres is the dialect of PostgreSQL. The app's privileges belong to a role with the
// name of the database, which cannot log in. Each user is a member of this role.
var postgres = dialect{
	lock:     "SELECT pg_advisory_lock(7265746174) IS NOT NULL",
	hosts:    "SELECT '%' FROM pg_roles WHERE rolname = $1",
	sessions: "SELECT COUNT(*) FROM pg_stat_activity WHERE usename = $1",
	create: func(database string, c pool.Credentials) ([]statement, error) {
		verifier, err := scramVerifier(c.Password)
		if err != nil {
			return nil, err
		}
		user := quote(c.Username, `"`)
		return []statement{
			{sql: "CREATE ROLE " + user + " LOGIN IN ROLE " + quote(database, `"`) + " PASSWORD ",
				secret: quote(verifier, "'")},
			// Each session acts as the role of the database, which therefore owns all new
			// objects. Otherwise the next user could not use them, and PostgreSQL would refuse
			// to drop their owner.
			{sql: "ALTER ROLE " + user + " SET role TO " + quote(database, "'")},
		}, nil
	},
	drop:     func(user string) statement { return statement{sql: "DROP ROLE " + quote(user, `"`)} },
	dropHint: ownerHint,
}

// ownerHint returns the remedy for a role with objects. Only roles from elsewhere own any.
func ownerHint(err error) string {
	const dependentObjectsStillExist = "2BP01"
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == dependentObjectsStillExist {
		return "; run REASSIGN OWNED BY the user TO the role of the database, and DROP OWNED BY the user"
	}
	return ""
}
