//go:build programs

package main

import (
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// With the real databases the administrator has the privileges that the README
// lists, and no more.

func TestRotateMariaDB(t *testing.T) {
	server := dbserver.MariaDB(t)
	asAdministrator(t, server,
		"CREATE USER rotation@'%' IDENTIFIED BY 'rotation'",
		"GRANT CREATE USER ON *.* TO rotation@'%'",
		"GRANT SELECT ON mysql.user TO rotation@'%'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO rotation@'%' WITH GRANT OPTION")
	newScene(t, server).rotate()
}

func TestRotatePostgreSQL(t *testing.T) {
	server := dbserver.PostgreSQL(t)
	asAdministrator(t, server,
		"CREATE ROLE app",
		"CREATE ROLE rotation LOGIN CREATEROLE PASSWORD 'rotation'",
		"GRANT app TO rotation WITH ADMIN OPTION")
	newScene(t, server).rotate()
}

func asAdministrator(t *testing.T, server *dbserver.Server, statements ...string) {
	db := dbserver.Open(t, server.URL, server.Admin)
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	server.Admin = pool.Credentials{Username: "rotation", Password: "rotation"}
}
