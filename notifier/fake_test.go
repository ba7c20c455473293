package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/status"
)

const backoffFirst = 500 * time.Millisecond // the longest first delay

type state = status.Target

// A disk stores the generations and the records, which survive a crash.
type disk struct {
	mu      sync.Mutex
	newest  uint64
	records map[string]notification.TargetRecord
	full    bool // SetTargetRecord fails
	lost    bool // other records could not be read
	writes  int
}

func newDisk(newest uint64) *disk {
	return &disk{newest: newest, records: map[string]notification.TargetRecord{}}
}

func (d *disk) publish() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest++
	return d.newest
}

func (d *disk) record(target string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.records[target].Notified
}

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// A life is the disk as a single sidecar process uses it. A dead process writes nothing.
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

func (l *life) TargetRecords() (map[string]notification.TargetRecord, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.records), l.lost
}

func (l *life) SetTargetRecord(target string, record notification.TargetRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dead:
		return errDead
	case l.full:
		return errors.New("no space left on device")
	}
	l.writes++
	l.records[target] = record
	return nil
}

func (l *life) die() { l.set(func(*disk) { l.dead = true }) }

// A fakeApp is a target. It remembers its notifications across restarts of the sidecar.
type fakeApp struct {
	name string

	mu       sync.Mutex
	calls    []uint64 // generations of the successful notifications
	attempts int
	err      error                         // result of Notify
	block    chan struct{}                 // Notify waits for this channel or ctx
	observe  func(err error)               // called by Notify with its result
	limit    func(generation uint64) error // may reject a generation
}

func (a *fakeApp) target() Target { return Target{Name: a.name, Key: a.name, Notify: a.notify} }

func (a *fakeApp) notify(ctx context.Context, changes Changes) error {
	a.mu.Lock()
	a.attempts++
	err, block, observe := a.err, a.block, a.observe
	if err == nil && a.limit != nil {
		err = a.limit(changes.Generation)
	}
	a.mu.Unlock()
	if observe != nil {
		observe(err)
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
		a.calls = append(a.calls, changes.Generation)
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
	return slices.Clone(a.calls)
}

func (a *fakeApp) attempted() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attempts
}

// newNotifier returns a Notifier. It discards logs and reports unless opts are set.
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

// start runs a Notifier. stop ends it and waits for it.
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
