// Package mysqlserver is a database server of the MySQL protocol, in memory, for
// examples and tests on a machine that has nothing but Go. It has real accounts:
// CREATE USER, GRANT, ALTER USER … IDENTIFIED BY and DROP USER do what they say,
// and a wrong password is refused (error 1045). It is dolthub/go-mysql-server,
// not MySQL: no dual passwords, no SET PASSWORD, nothing on disk.
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

// Database is the name of the one database, empty at first.
const Database = "app"

// Serve answers on the listener until ctx ends; it closes the listener. The
// administrator may do everything, from this machine only.
func Serve(ctx context.Context, l net.Listener, admin, password string) error {
	logrus.SetOutput(io.Discard) // it logs every refused connection, with the user's name
	db := memory.NewDatabase(Database)
	db.EnablePrimaryKeyIndexes()
	provider := memory.NewDBProvider(db)
	engine := sqle.NewDefault(provider)

	accounts := engine.Analyzer.Catalog.MySQLDb
	// Without a persister every change of an account is an error.
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
