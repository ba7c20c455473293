// Package mysqlserver runs an in-memory database server with the MySQL protocol, for
// examples and tests on a machine with nothing installed but Go. It supports accounts:
// CREATE USER, GRANT, ALTER USER … IDENTIFIED BY and DROP USER work, and a wrong password
// is rejected (error 1045). The server is dolthub/go-mysql-server, not MySQL. It supports
// no dual passwords and no SET PASSWORD.
package mysqlserver

import (
	"context"
	"fmt"
	"io"
	"net"

	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/mysql_db"
	"github.com/sirupsen/logrus"
)

// Database is the name of the only database, which is initially empty.
const Database = "app"

// Serve serves on l until ctx ends, and closes l. The administrator has all privileges
// and can connect only from this machine.
func Serve(ctx context.Context, l net.Listener, admin, password string) error {
	logrus.SetOutput(io.Discard) // it logs every rejected login
	db := memory.NewDatabase(Database)
	db.EnablePrimaryKeyIndexes()
	provider := memory.NewDBProvider(db)
	engine := sqle.NewDefault(provider)

	accounts := engine.Analyzer.Catalog.MySQLDb
	// Without a persister, every change of an account fails.
	accounts.SetPersister(&mysql_db.NoopPersister{})
	editor := accounts.Editor()
	accounts.AddSuperUser(editor, admin, "localhost", password)
	editor.Close()

	config := server.Config{Protocol: "tcp", Address: l.Addr().String(), Listener: l, MaxConnections: 1000}
	s, err := server.NewServer(config, engine, sql.NewContext, memory.NewSessionBuilder(provider), nil)
	if err != nil {
		l.Close()
		return fmt.Errorf("start the database: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	return s.Start()
}
