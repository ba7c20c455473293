package watcher

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/wake"
)

// TestDebounce: a poke arrives after a quiet period, and at the latest after ten times the
// debounce time. After the end no poke arrives.
func TestDebounce(t *testing.T) {
	const interval = 900 * time.Millisecond // between two changes
	for _, c := range []struct {
		name     string
		debounce time.Duration
		changes  int
		want     []time.Duration // times of the first pokes
	}{
		{"no debounce", 0, 2, []time.Duration{0, interval}},
		{"one change", time.Second, 1, []time.Duration{time.Second}},
		{"three changes", time.Second, 3, []time.Duration{2800 * time.Millisecond}},
		{"continuous changes", time.Second, 21, []time.Duration{10 * time.Second, 19 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, out, began := wake.NewChannel(), wake.NewChannel(), time.Now()
				ctx, end := context.WithCancel(t.Context())
				go debounce(ctx, in, out, c.debounce)
				var got []time.Duration
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range out {
						got = append(got, time.Since(began))
					}
				}()
				for range c.changes {
					in.Poke()
					time.Sleep(interval)
				}
				time.Sleep(100*time.Millisecond + c.debounce/10)
				end()
				synctest.Wait()
				atEnd := len(got)
				in.Poke() // after the end
				time.Sleep(2 * maxDebounce * c.debounce)
				close(out)
				<-done
				if len(got) != atEnd {
					t.Errorf("%d pokes after the end, want none", len(got)-atEnd)
				}
				if len(got) < len(c.want) || !slices.Equal(got[:len(c.want)], c.want) {
					t.Fatalf("pokes: got %v, want %v", got, c.want)
				}
			})
		})
	}
}

// TestPoker: pokes are combined, and poke does not wait for a reader.
func TestPoker(t *testing.T) {
	p := wake.NewChannel()
	for range 5 {
		p.Poke()
	}
	if got := len(p); got != 1 {
		t.Errorf("got %d pokes, want 1", got)
	}
}
