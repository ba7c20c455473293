package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A Pool is a pgxpool.Pool with credentials from the files of a Secret. The app keeps the
// same Pool for its whole life and calls Reload after a change of the files.
type Pool struct {
	*pgxpool.Pool
	dir  string
	mu   sync.Mutex
	open map[credentials]int // number of open connections by credentials
}

type credentials struct{ user, password string }

// Open creates the pool and opens its first connection.
func Open(ctx context.Context, database, dir string) (*Pool, error) {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return nil, err
	}
	p := &Pool{dir: dir, open: map[credentials]int{}}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) (err error) {
		c.User, c.Password, err = read(dir)
		return err
	}
	config.AfterConnect = func(_ context.Context, c *pgx.Conn) error { p.count(c, 1); return nil }
	config.BeforeClose = func(c *pgx.Conn) { p.count(c, -1) }
	if p.Pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	return p, p.Ping(ctx)
}

// Reload replaces all connections by connections with the current credentials. It returns
// the user after the last old connection is closed. If it returns an error, old
// connections may still be open, and the caller must retry.
func (p *Pool) Reload(ctx context.Context) (user string, err error) {
	config := p.Config().ConnConfig
	if config.User, config.Password, err = read(p.dir); err != nil {
		return "", err
	}
	check, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", err
	}
	_ = check.Close(ctx)
	p.Reset() // closes idle connections now, and other connections when they are released
	// A connection that was being opened may use the old credentials, so wait for it first.
	for opening := true; opening || p.older(config) > 0; opening = opening && p.Stat().ConstructingConns() > 0 {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return config.User, nil
}

// count adds n to the number of open connections with the credentials of c.
func (p *Pool) count(c *pgx.Conn, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := credentials{c.Config().User, c.Config().Password}
	if p.open[key] += n; p.open[key] == 0 {
		delete(p.open, key)
	}
}

// older returns the number of open connections with other credentials than now.
func (p *Pool) older(now *pgx.ConnConfig) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, open := range p.open {
		if c.user != now.User || c.password != now.Password {
			n += open
		}
	}
	return n
}

// read opens ..data a single time, so both files come from the same generation.
func read(dir string) (user, password string, err error) {
	generation, err := os.OpenRoot(filepath.Join(dir, "..data"))
	if err != nil {
		return "", "", err
	}
	defer generation.Close()
	u, err1 := generation.ReadFile("username")
	p, err2 := generation.ReadFile("password")
	return strings.TrimSpace(string(u)), strings.TrimRight(string(p), "\r\n"), errors.Join(err1, err2)
}
