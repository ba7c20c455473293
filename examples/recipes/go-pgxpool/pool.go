package main

import (
	"context"
	"errors"
	"fmt"
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
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		now, err := read(dir)
		c.User, c.Password = now.user, now.password
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
	now, err := read(p.dir)
	if err != nil {
		return "", err
	}
	config := p.Config().ConnConfig
	config.User, config.Password = now.user, now.password
	check, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", err
	}
	_ = check.Close(ctx)
	// Idle connections close now, the others when they are released.
	p.Reset()
	// What was being opened before may still get the old credentials: that ends first.
	if err := wait(ctx, func() bool { return p.Stat().ConstructingConns() == 0 }); err != nil {
		return "", err
	}
	return now.user, wait(ctx, func() bool { return p.older(now) == 0 })
}

func (p *Pool) count(c *pgx.Conn, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	config := c.Config()
	key := credentials{config.User, config.Password}
	if p.open[key] += n; p.open[key] == 0 {
		delete(p.open, key)
	}
}

func (p *Pool) older(now credentials) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, open := range p.open {
		if c != now {
			n += open
		}
	}
	return n
}

// read follows ..data once, so that both files are of one generation.
func read(dir string) (credentials, error) {
	generation, err := os.OpenRoot(filepath.Join(dir, "..data"))
	if err != nil {
		return credentials{}, err
	}
	defer generation.Close()
	user, err1 := generation.ReadFile("username")
	password, err2 := generation.ReadFile("password")
	return credentials{strings.TrimSpace(string(user)), strings.TrimRight(string(password), "\r\n")}, errors.Join(err1, err2)
}

func wait(ctx context.Context, f func() bool) error {
	for !f() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("old connections are still in use: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
