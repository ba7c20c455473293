// Package wake contains the three ways in which secret-sync waits: a worker waits for a poke, a pause ends with its
// context, and retries are spaced by a backoff.
package wake

import (
	"context"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
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

// A Backoff contains the pauses between retries. Its method Step returns the next pause.
type Backoff = wait.Backoff

// NewBackoff returns a Backoff. The first pause is 0.5 s and each further pause is twice as long, up to longest. Every
// pause is shortened by up to a fifth, at random, so replicas do not retry together after a common failure.
func NewBackoff(longest time.Duration) Backoff {
	return Backoff{
		Duration: 400 * time.Millisecond, Factor: 2, Cap: longest / 5 * 4, Jitter: 0.25, Steps: math.MaxInt,
	}
}
