package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load asks the app's /query all the time, as several clients, and counts.
type load struct {
	done, failed atomic.Int64
	cancel       context.CancelFunc
	clients      sync.WaitGroup

	mu    sync.Mutex
	first error // the first failure
}

func startLoad(url string, workers int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for range workers {
		l.clients.Go(func() { l.client(ctx, url) })
	}
	return l
}

// client asks some 50 times a second: a steady load that leaves room on a small
// machine, so that the times shown are of the work and not of the queue for it.
func (l *load) client(ctx context.Context, url string) {
	c := &http.Client{Transport: &http.Transport{}, Timeout: 15 * time.Second}
	defer c.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.count(query(c, url))
		}
	}
}

func query(c *http.Client, url string) error {
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

func (l *load) count(err error) {
	l.done.Add(1)
	if err == nil {
		return
	}
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = err
	}
}

func (l *load) firstError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// stop lets the queries under way end, so that none fails by it.
func (l *load) stop() {
	l.cancel()
	l.clients.Wait()
}
