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

// Connector returns a driver.Connector for sql.OpenDB. It does not connect. The
// database is a URL without a user: mysql://HOST:PORT/NAME or postgres://HOST:PORT/NAME.
// The query of the URL contains parameters of the driver, such as ?sslmode=disable.
func Connector(database string, c Credentials) (driver.Connector, error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, errors.New("parse the database URL: invalid syntax") // err quotes the URL
	}
	switch u.Scheme {
	case "mysql":
		config, err := mysql.ParseDSN(fmt.Sprintf("tcp(%s)%s?%s", u.Host, u.Path, u.RawQuery))
		if err != nil {
			return nil, fmt.Errorf("parse the database URL: %w", err)
		}
		config.User, config.Passwd = c.Username, c.Password
		return mysql.NewConnector(config)
	case "postgres", "postgresql":
		u.User = nil
		config, err := pgx.ParseConfig(u.String())
		if err != nil {
			return nil, fmt.Errorf("parse the database URL: %w", err)
		}
		config.User, config.Password = c.Username, c.Password
		return stdlib.GetConnector(*config), nil
	default:
		return nil, fmt.Errorf("parse the database URL: scheme %q must be mysql or postgres", u.Scheme)
	}
}
