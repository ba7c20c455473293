package watcher

import (
	"sync"
	"time"
)

// settleAtMost is how many times the settle time a poke waits at most when the
// changes do not cease.
const settleAtMost = 10

// poker turns changes into pokes of a channel of capacity one, each after a
// time without a change.
type poker struct {
	out    chan struct{}
	settle time.Duration

	mu    sync.Mutex
	timer *time.Timer // nil: no change waits
	until time.Time   // the change that waits waits no longer than this
	ended bool
}

func newPoker(settle time.Duration) *poker {
	return &poker{out: make(chan struct{}, 1), settle: settle}
}

// changed pokes, or puts the poke that waits off. It never blocks.
func (p *poker) changed() {
	if p.settle <= 0 {
		p.send()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
	case p.timer == nil:
		p.until = time.Now().Add(settleAtMost * p.settle)
		p.timer = time.AfterFunc(p.settle, p.settled)
	default:
		// A timer that fired just now pokes a little early, and once more
		// after this change: a poke too many is harmless, one too few is not.
		p.timer.Reset(min(p.settle, time.Until(p.until)))
	}
}

func (p *poker) settled() {
	p.mu.Lock()
	p.timer = nil
	p.mu.Unlock()
	p.send()
}

func (p *poker) send() {
	select {
	case p.out <- struct{}{}:
	default:
	}
}

// stop drops the poke that waits; there is none after it.
func (p *poker) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
