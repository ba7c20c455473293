package watcher

import (
	"context"
	"time"

	"github.com/secret-sync/secret-sync/internal/wake"
)

// maxDebounce limits the delay of a poke, as a multiple of the debounce time.
const maxDebounce = 10

// debounce passes a poke on after a period of length quiet without another poke. It
// returns when ctx is done, and drops a waiting poke.
func debounce(ctx context.Context, in <-chan struct{}, out wake.Channel, quiet time.Duration) {
	var latest time.Time
	var due <-chan time.Time // nil if no poke waits
	for {
		select {
		case <-ctx.Done():
			return
		case <-in:
			if due == nil {
				latest = time.Now().Add(maxDebounce * quiet)
			}
			due = time.After(min(quiet, time.Until(latest)))
		case <-due:
			due = nil
			out.Poke()
		}
	}
}
