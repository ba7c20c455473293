package main

import (
	"strings"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// mariadb is the dialect of MariaDB and MySQL.
var mariadb = dialect{
	lock:     "SELECT GET_LOCK('secret-sync-rotate', 30) = 1",
	hosts:    "SELECT Host FROM mysql.user WHERE User = ?",
	sessions: "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?",
	create: func(database string, c pool.Credentials) ([]statement, error) {
		return []statement{
			{sql: "CREATE USER " + account(c.Username) + " IDENTIFIED BY ", secret: quote(c.Password, "'")},
			{sql: "GRANT SELECT, INSERT, UPDATE, DELETE ON " + pattern(database) + ".* TO " + account(c.Username)},
		}, nil
	},
	drop:     func(user string) statement { return statement{sql: "DROP USER " + account(user)} },
	dropHint: func(error) string { return "" },
}

// account returns the account of a user for every host.
func account(user string) string { return quote(user, "`") + "@`%`" }

// pattern returns the pattern of a GRANT for a single database. An unescaped _ or %
// would match other databases too.
func pattern(database string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "_", `\_`, "%", `\%`).Replace(database)
	return quote(escaped, "`")
}
