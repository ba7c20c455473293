package watcher

import (
	"context"
	"time"
)

// settleAtMost is how many times the settle time a poke waits at most while there
// are more and more changes.
const settleAtMost = 10

// poker is a channel with room for one poke, which stands for all that come before
// it is read.
type poker chan struct{}

func newPoker() poker { return make(poker, 1) }

// poke never blocks.
func (p poker) poke() {
	select {
	case p <- struct{}{}:
	default:
	}
}

// settle passes pokes on, each after a quiet time without another one, until ctx is
// done. The poke that waits then is dropped.
func settle(ctx context.Context, in <-chan struct{}, out poker, quiet time.Duration) {
	var latest time.Time
	var settled <-chan time.Time // nil: no poke waits
	for {
		select {
		case <-ctx.Done():
			return
		case <-in:
			if settled == nil {
				latest = time.Now().Add(settleAtMost * quiet)
			}
			settled = time.After(min(quiet, time.Until(latest)))
		case <-settled:
			settled = nil
			out.poke()
		}
	}
}
