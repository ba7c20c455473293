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

// Pool is a pgxpool whose credentials are the files of a Secret. It stays the same
// pool: hand it out once, and call Reload when the files have changed.
type Pool struct {
	*pgxpool.Pool
	dir  string
	mu   sync.Mutex
	open map[credentials]int // how many connections each has
}

type credentials struct{ user, password string }

// Open makes the pool, and fails if it cannot connect.
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

// Reload changes to connections with the present credentials, and returns the user once
// no older ones are open. On an error the old ones stay, and the caller tries again.
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
	p.Reset() // idle connections close now, the others when they are released
	// A connection that was being opened may still get the old credentials: that ends first.
	for opening := true; opening || p.older(config) > 0; opening = opening && p.Stat().ConstructingConns() > 0 {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return config.User, nil
}

func (p *Pool) count(c *pgx.Conn, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := credentials{c.Config().User, c.Config().Password}
	if p.open[key] += n; p.open[key] == 0 {
		delete(p.open, key)
	}
}

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

// read follows ..data once, so that both files are of one generation.
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
