// Package wake contains the three ways in which secret-sync waits: a worker waits for a poke, a pause ends with its
// context, and retries are spaced by a backoff.
package wake

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Channel wakes a worker. The worker then examines the whole state. The channel holds a single poke: any further
// pokes before the worker receives have no effect. Create it with NewChannel.
type Channel chan struct{}

// NewChannel returns a Channel without a poke.
func NewChannel() Channel { return make(Channel, 1) }

// Poke wakes the receiver of c, now or at its next receive. It never blocks.
func (c Channel) Poke() {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Sleep returns after d, or earlier when ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// A Backoff computes the pauses between retries. The first pause is First and each further pause is twice as long, up
// to Max. Every pause is shortened by up to a quarter, at random, so replicas do not retry together after a common
// failure.
type Backoff struct {
	First, Max time.Duration
	pause      time.Duration // the last pause before it was shortened; 0 after Reset
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	b.pause = min(max(2*b.pause, b.First), b.Max)
	return b.pause - rand.N(b.pause/4+1)
}

// Reset makes the next pause the first again.
func (b *Backoff) Reset() { b.pause = 0 }

// Active reports whether Next was called since the last Reset.
func (b *Backoff) Active() bool { return b.pause > 0 }
