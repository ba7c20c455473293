package watcher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	backoffStart = 500 * time.Millisecond
	backoffCap   = 10 * time.Second // an API server that is back is seen within this
	// calmAfter is how long a turn has to last before it is followed at once by
	// the next, or by a short pause: so there are never more of them, in the
	// long run, than there are while the API server is away.
	calmAfter = backoffCap
	// headStart is how long the others wait for the first watch at most: an API
	// server that needs that long is one not to open a hundred connections to.
	headStart = 3 * time.Second
	// spreadPerWatch times the number of watches is over what time their new
	// lists are spread when a server ends all of them at once.
	spreadPerWatch = 5 * time.Millisecond
)

// loop keeps one watch going: turn after turn, with a pause after those that
// failed or were short.
type loop struct {
	query  query
	source source
	store  *store
	health *health
	logger *slog.Logger
	spread time.Duration
	asked  chan struct{} // closed when the first list was answered, or failed
	reread chan struct{} // of capacity one: list anew at once
}

func newLoop(q query, s source, all *state, logger *slog.Logger) *loop {
	l := &loop{query: q, source: s, logger: logger, asked: make(chan struct{}), reread: make(chan struct{}, 1)}
	l.store = &store{query: q, state: all, logger: logger}
	l.health = newHealth(q, logger, sync.OnceFunc(func() { close(l.asked) }))
	return l
}

// run goes on until ctx is done.
func (l *loop) run(ctx context.Context) {
	defer l.health.stop()
	var pause backoff
	for {
		t := &turn{query: l.query, source: l.source, store: l.store, health: l.health}
		if reread := l.runUntilReread(ctx, t); reread && ctx.Err() == nil {
			l.logger.Debug("watch ended to list anew")
			continue
		}
		if ctx.Err() != nil {
			return
		}
		wait := l.judge(t, &pause)
		l.logger.Debug("watch ended", "err", t.err, "next", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.reread:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// runUntilReread runs t, ends it when a new list is wanted, and tells whether
// that was the reason.
func (l *loop) runUntilReread(ctx context.Context, t *turn) (reread bool) {
	ctx, cancel := context.WithCancel(ctx)
	waited := make(chan bool)
	go func() {
		select {
		case <-l.reread:
			cancel()
			waited <- true
		case <-ctx.Done():
			waited <- false
		}
	}()
	t.run(ctx)
	cancel()
	return <-waited
}

// judge says how the turn went, and how long to wait before the next one. A
// watch that ended after minutes, as servers end them, or that had nothing new
// to say, is not a fault: it is read anew at once.
func (l *loop) judge(t *turn, pause *backoff) time.Duration {
	calm := !t.answered.IsZero() && time.Since(t.answered) >= calmAfter
	if calm {
		pause.reset()
	}
	if t.err == nil && pause.n > 0 && time.Since(t.answered) < upAfter {
		t.err = errEndsAtOnce
	}
	if t.err == nil && calm {
		return time.Duration(rand.Int64N(int64(l.spread) + 1))
	}
	wait := pause.next()
	if f, ok := t.err.(*fault); ok {
		wait = max(wait, min(f.retryAfter, backoffCap))
		l.health.down(f)
		if outdated(f) {
			l.source.renew()
		}
	}
	return wait
}

// backoff is how long to wait between turns: 0.5 s, doubled each time, 10 s at
// most, and of that a random half to all, so that the watches of many Pods do
// not come back together.
type backoff struct{ n int }

func (b *backoff) reset() { b.n = 0 }

func (b *backoff) next() time.Duration {
	most := min(backoffStart<<min(b.n, 10), backoffCap)
	b.n++
	return most/2 + time.Duration(rand.Int64N(int64(most/2)+1))
}
