package dbserver

import (
	"database/sql"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// Open returns a pool and closes it at the end of the test.
func Open(t testing.TB, url string, c pool.Credentials) *sql.DB {
	t.Helper()
	connector, err := pool.Connector(url, c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}
