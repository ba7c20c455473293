// Package pool is a database/sql pool whose credentials are files and may change
// under it. A database checks a password when a connection opens and never again,
// so new credentials mean new connections: Reload opens a second pool, checks it,
// puts it in the place of the first, and closes the first once its last user is
// done. No query fails, so long as the old credentials work until then (Status
// says when): rotate with an overlap, two users alternately, or one with two passwords.
//
// It is meant to be copied.
package pool

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// checkTimeout is below the 5 s that a webhook waits by default.
const checkTimeout = 4 * time.Second

// Options say what to connect to.
type Options struct {
	Database    string        // a URL, see Connector
	Dir         string        // a Secret's folder, see ReadCredentials
	MaxLifetime time.Duration // of one connection; 0: for ever
}

// Pool hands out the newest connections that work.
type Pool struct {
	options  Options
	reload   sync.Mutex // one reload at a time
	draining atomic.Int64

	mu      sync.RWMutex // guards current, and its users from growing after the swap
	current *generation
}

// generation is one set of credentials and the connections made with it.
type generation struct {
	db          *sql.DB
	credentials Credentials
	since       time.Time
	users       sync.WaitGroup // who is between the start and the end of Use
}

// Open reads the credentials, connects, and fails if that does not work.
func Open(ctx context.Context, o Options) (*Pool, error) {
	p := &Pool{options: o}
	if _, err := p.Reload(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Use calls f with the present connections, which stay open until f returns.
// Rows and transactions must end in f.
func (p *Pool) Use(f func(*sql.DB) error) error {
	p.mu.RLock()
	g := p.current
	g.users.Add(1)
	p.mu.RUnlock()
	defer g.users.Done()
	return f(g.db)
}

// Reload reads the credentials again, and changes to new connections if they are
// new and work; changed says so. On an error everything stays as it was, and the
// caller tries again later.
func (p *Pool) Reload(ctx context.Context) (changed bool, err error) {
	p.reload.Lock()
	defer p.reload.Unlock()
	credentials, err := ReadCredentials(p.options.Dir)
	if err != nil {
		return false, err
	}
	if p.current != nil && p.current.credentials == credentials {
		return false, nil // a notification may come twice, or for another file
	}
	db, err := connect(ctx, p.options, credentials)
	if err != nil {
		return false, err
	}
	p.swap(&generation{db: db, credentials: credentials, since: time.Now()})
	return true, nil
}

// connect opens a pool and a first connection in it: only that shows whether the
// credentials are good.
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

// swap puts next in front and drains what was there. Nobody can begin to use the
// old generation after the lock is given back, so its users only become fewer.
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
		old.users.Wait()
		// Not before: Close fails queries that have not got their connection yet.
		old.db.Close()
	}()
}

// Status is what may be shown of a pool.
type Status struct {
	User     string    `json:"user"`
	Since    time.Time `json:"since"`
	Draining int64     `json:"draining"` // old pools that still have users
}

// Status says who is connected now.
func (p *Pool) Status() Status {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return Status{p.current.credentials.Username, p.current.since, p.draining.Load()}
}

// Drained waits until the connections of all former credentials are closed: from
// then on nothing uses an old password.
func (p *Pool) Drained(ctx context.Context) error {
	for p.draining.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("old connections are still in use: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// Close waits for the present users and closes their connections.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current.users.Wait()
	return p.current.db.Close()
}
