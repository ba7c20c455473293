package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

// disk is what survives a crash: the generations and the records.
type disk struct {
	mu       sync.Mutex
	newest   uint64
	notified map[string]uint64
	full     bool // records are refused
	writes   int
}

func newDisk(newest uint64) *disk { return &disk{newest: newest, notified: map[string]uint64{}} }

func (d *disk) publish() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest++
	return d.newest
}

func (d *disk) record(target string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.notified[target]
}

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// life is the disk as one process sees it, until it is dead.
type life struct {
	*disk
	dead bool // guarded by disk.mu
}

var errDead = errors.New("the process is dead")

func (l *life) Newest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest
}

func (l *life) ChangesSince(generation uint64) Changes {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Changes{Generation: l.newest, Changed: []string{fmt.Sprintf("since/%d", generation)}}
}

func (l *life) Notified(target string) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	generation, ok := l.notified[target]
	return generation, ok
}

func (l *life) SetNotified(target string, generation uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dead:
		return errDead
	case l.full:
		return errors.New("no space left on device")
	}
	l.writes++
	l.notified[target] = generation
	return nil
}

func (l *life) die() { l.set(func(*disk) { l.dead = true }) }

// fakeApp is a target whose app remembers its notifications over the sidecar's deaths.
type fakeApp struct {
	name string

	mu    sync.Mutex
	heard []uint64
	tries int
	err   error                         // what Notify returns
	block chan struct{}                 // Notify waits for it, or for ctx
	each  func(err error)               // called in each Notify with what it will return
	limit func(generation uint64) error // may refuse a generation
}

func (a *fakeApp) target() Target { return Target{Name: a.name, Notify: a.notify} }

func (a *fakeApp) notify(ctx context.Context, changes Changes) error {
	a.mu.Lock()
	a.tries++
	err, block, each := a.err, a.block, a.each
	if err == nil && a.limit != nil {
		err = a.limit(changes.Generation)
	}
	a.mu.Unlock()
	if each != nil {
		each(err)
	}
	if block != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-block:
		}
	}
	if err == nil {
		a.mu.Lock()
		a.heard = append(a.heard, changes.Generation)
		a.mu.Unlock()
	}
	return err
}

func (a *fakeApp) set(change func(*fakeApp)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *fakeApp) notified() []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.heard)
}

func (a *fakeApp) tried() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tries
}

// newNotifier makes one that logs and reports to nobody unless opts say more.
func newNotifier(t *testing.T, opts Options) *Notifier {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Report == nil {
		opts.Report = func(string, error) {}
	}
	return New(opts)
}

// start runs a notifier; stop ends it and waits for it.
func start(t *testing.T, opts Options) (n *Notifier, stop func()) {
	t.Helper()
	n = newNotifier(t, opts)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	return n, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v, want nil", err)
		}
	})
}

// journal is a log that tests read.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) count(part string) int { return strings.Count(j.String(), part) }

func (j *journal) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: level}))
}
