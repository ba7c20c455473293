// Package pool provides a database/sql pool with credentials that change at run time.
// Copy it into your app.
//
// A database checks a password only when a connection opens, so new credentials require
// new connections. Reload opens a second pool, checks it and makes it current. It closes
// the first pool after the last user has returned.
//
// No query fails if the old credentials stay valid until Status reports no draining pool.
// Rotate with an overlap: alternate between two users, or use a user with two passwords.
package pool

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// checkTimeout is shorter than the default timeout of a webhook, which is 5 s.
const checkTimeout = 4 * time.Second

// Options configure a Pool.
type Options struct {
	Database    string        // URL of the database, see Connector
	Dir         string        // directory of the Secret, see ReadCredentials
	MaxLifetime time.Duration // maximum lifetime of a connection; 0 means no limit
}

// A Pool provides connections with the newest working credentials.
type Pool struct {
	options  Options
	reload   sync.Mutex // serializes calls of Reload
	draining atomic.Int64

	mu      sync.RWMutex // guards current; after a swap, no user is added to the old generation
	current *generation
}

// A generation is a set of credentials and the connections opened with it.
type generation struct {
	db          *sql.DB
	credentials Credentials
	since       time.Time
	users       sync.WaitGroup // running calls of Use
}

// Open reads the credentials and connects. It fails if either step fails.
func Open(ctx context.Context, o Options) (*Pool, error) {
	p := &Pool{options: o}
	if _, err := p.Reload(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Use calls f with the current connections, which stay open until f returns. Rows and
// transactions must end before f returns.
func (p *Pool) Use(f func(*sql.DB) error) error {
	p.mu.RLock()
	g := p.current
	g.users.Add(1)
	p.mu.RUnlock()
	defer g.users.Done()
	return f(g.db)
}

// Reload reads the credentials again. If they are new, it opens new connections and
// returns true. If it returns an error, the old connections stay current, and the
// caller should retry later.
func (p *Pool) Reload(ctx context.Context) (changed bool, err error) {
	p.reload.Lock()
	defer p.reload.Unlock()
	credentials, err := ReadCredentials(p.options.Dir)
	if err != nil {
		return false, err
	}
	if p.current != nil && p.current.credentials == credentials {
		return false, nil // the notification was a repetition, or another file changed
	}
	db, err := connect(ctx, p.options, credentials)
	if err != nil {
		return false, err
	}
	p.swap(&generation{db: db, credentials: credentials, since: time.Now()})
	return true, nil
}

// connect opens a pool and its first connection, which proves the credentials.
func connect(ctx context.Context, o Options, c Credentials) (*sql.DB, error) {
	connector, err := Connector(o.Database, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	db := sql.OpenDB(connector)
	db.SetConnMaxLifetime(o.MaxLifetime)
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("connect as %s: %w", c, err)
	}
	return db, nil
}

// swap makes next current and drains the previous generation, which gets no new users
// once the lock is released.
func (p *Pool) swap(next *generation) {
	p.mu.Lock()
	old := p.current
	p.current = next
	p.mu.Unlock()
	if old == nil {
		return
	}
	p.draining.Add(1)
	go func() {
		defer p.draining.Add(-1)
		old.users.Wait() // Close fails queries still waiting for a connection
		old.db.Close()
	}()
}

// Status describes a Pool without its password.
type Status struct {
	User     string    `json:"user"`
	Since    time.Time `json:"since"`
	Draining int64     `json:"draining"` // number of old pools in use
}

// Status returns the current user and the number of old pools.
func (p *Pool) Status() Status {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return Status{p.current.credentials.Username, p.current.since, p.draining.Load()}
}

// Drained waits until the connections of all old credentials are closed. When it
// returns nil, the app no longer uses an old password.
func (p *Pool) Drained(ctx context.Context) error {
	for p.draining.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for old connections to close: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// Close waits for the users of the current connections and closes the connections.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current.users.Wait()
	return p.current.db.Close()
}
