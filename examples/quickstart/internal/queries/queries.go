// Package queries sends an app a steady load of queries and counts the failures. It never
// retries a query. The package does not know about rotations.
package queries

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Load sends queries with several clients until it is stopped.
type Load struct {
	Done, Failed atomic.Int64
	cancel       context.CancelFunc
	clients      sync.WaitGroup

	mu    sync.Mutex
	first error
}

// Start starts a Load of the URL. The caller must call Stop.
func Start(url string, workers int) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cancel: cancel}
	for range workers {
		l.clients.Go(func() { l.client(ctx, url) })
	}
	return l
}

// client sends 50 queries per second. The rate leaves a small machine mostly idle, so
// measured times do not include waiting for a CPU.
func (l *Load) client(ctx context.Context, url string) {
	c := &http.Client{Transport: &http.Transport{}, Timeout: 15 * time.Second}
	defer c.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.count(Query(c, url))
		}
	}
}

// Query sends a single query and returns an error unless the status is 200.
func Query(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

func (l *Load) count(err error) {
	l.Done.Add(1)
	if err == nil {
		return
	}
	l.Failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = err
	}
}

// FirstError returns the first failure.
func (l *Load) FirstError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Stop stops the load after the running queries have ended.
func (l *Load) Stop() {
	l.cancel()
	l.clients.Wait()
}
