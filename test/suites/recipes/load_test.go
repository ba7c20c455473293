//go:build programs

package recipes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// counts contains numbers of finished requests.
type counts struct{ queries, transactions, failed, committed int64 }

func (c counts) minus(d counts) counts {
	return counts{c.queries - d.queries, c.transactions - d.transactions, c.failed - d.failed,
		c.committed - d.committed}
}

// A load sends requests to the app until it is stopped. Its rate leaves a small machine
// mostly idle, so measured times do not include waiting for a CPU.
type load struct {
	t       *testing.T
	retries bool
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu    sync.Mutex
	count counts
	first error // the first failure
	// failing contains the times of the first and the last failure since the last call of
	// failedFor.
	failing struct{ from, to time.Time }
}

// startLoad starts four clients with 50 queries per second each. Four more clients run
// transactions in sequence, at most 10 per second each.
func (w *world) startLoad() {
	ctx, cancel := context.WithCancel(context.Background())
	w.load = &load{t: w.t, retries: w.recipe.retries, cancel: cancel}
	for range 4 {
		w.load.clients.Go(func() { w.load.client(ctx, w.url+"/query", 20*time.Millisecond, false) })
		w.load.clients.Go(func() { w.load.client(ctx, w.url+"/transaction", 100*time.Millisecond, true) })
	}
	w.t.Cleanup(w.load.stop)
	w.load.more()
}

func (l *load) client(ctx context.Context, url string, every time.Duration, transaction bool) {
	// Each request uses a new connection, because Go's client retries some requests on a
	// reused connection.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
	for tick := time.NewTicker(every); ctx.Err() == nil; {
		err := ask(client, url)
		for again := 0; l.retries && err != nil && again < 3; again++ {
			time.Sleep(50 * time.Millisecond)
			err = ask(client, url)
		}
		l.add(err, transaction)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (l *load) add(err error, transaction bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.queries++
	if transaction {
		l.count.transactions++
	}
	switch {
	case err != nil:
		l.count.failed++
		l.failing.to = time.Now()
		if l.failing.from.IsZero() {
			l.failing.from = l.failing.to
		}
		if l.first == nil {
			l.first = err
		}
	case transaction:
		l.count.committed++
	}
}

func ask(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	return err
}

func (l *load) counts() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *load) firstError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// failedFor returns the time from the first to the last failure since its previous call.
func (l *load) failedFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.failing.to.Sub(l.failing.from)
	l.failing.from, l.failing.to = time.Time{}, time.Time{}
	return d
}

// more waits for 30 more queries and 8 more transactions. They fail if the app still uses
// an old user.
func (l *load) more() {
	l.t.Helper()
	before := l.counts()
	testsupport.EventuallyWithin(l.t, appTime, "the load continues", func() error {
		if c := l.counts().minus(before); c.queries < 30 || c.transactions < 8 {
			return fmt.Errorf("%d more queries, %d of them transactions", c.queries, c.transactions)
		}
		return nil
	})
}

// stop stops the load after the running requests have ended.
func (l *load) stop() {
	l.cancel()
	l.clients.Wait()
}
