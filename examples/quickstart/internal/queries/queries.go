// Package queries loads an app with queries, steadily, and counts those that fail: each
// is sent once. The package must not know what happens to the app meanwhile.
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

// Load asks an app all the time, as several clients, and counts.
type Load struct {
	Done, Failed atomic.Int64
	cancel       context.CancelFunc
	clients      sync.WaitGroup

	mu    sync.Mutex
	first error // the first failure
}

// Start asks this URL until Stop.
func Start(url string, workers int) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cancel: cancel}
	for range workers {
		l.clients.Go(func() { l.client(ctx, url) })
	}
	return l
}

// client asks some 50 times a second: a steady load that leaves room on a small
// machine, so that the times shown are of the work and not of the queue for it.
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

// Query asks once: an answer other than 200 is an error.
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

// FirstError is the first failure.
func (l *Load) FirstError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Stop lets the queries under way end, so that none fails by it.
func (l *Load) Stop() {
	l.cancel()
	l.clients.Wait()
}
