package pool

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Connector gives what sql.OpenDB takes, for a database URL without a user, as
// mysql://HOST:PORT/NAME or postgres://HOST:PORT/NAME?sslmode=…, and credentials.
// What follows the ? is the driver's. It connects to nothing yet.
func Connector(database string, c Credentials) (driver.Connector, error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed") // url's error would quote it
	}
	switch u.Scheme {
	case "mysql":
		config, err := mysql.ParseDSN(fmt.Sprintf("tcp(%s)%s?%s", u.Host, u.Path, u.RawQuery))
		if err != nil {
			return nil, fmt.Errorf("database URL: %w", err)
		}
		config.User, config.Passwd = c.Username, c.Password
		return mysql.NewConnector(config)
	case "postgres", "postgresql":
		u.User = nil
		config, err := pgx.ParseConfig(u.String())
		if err != nil {
			return nil, fmt.Errorf("database URL: %w", err)
		}
		config.User, config.Password = c.Username, c.Password
		return stdlib.GetConnector(*config), nil
	default:
		return nil, fmt.Errorf("database URL: scheme %q, want mysql or postgres", u.Scheme)
	}
}
