// Package writer publishes the files of Secrets as generations in a volume. A single
// rename(2) replaces one complete generation with the next.
//
// A reader that opens DIR/..data once sees a single, complete generation below this handle for as long as old
// generations stay (10 s, within limits). A file is on disk before a reader can see it. No failure, and no crash at any
// system call, removes readable files. Two opens by path may see different generations.
//
// publish.go contains the algorithm of a publish, reconcile.go the comparison with the
// current generation, and uncertain.go the states of doubt about the volume.
package writer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// Options configure a Writer. All but Swap are required.
type Options struct {
	Dir      string // mount path of the volume
	Layout   generation.Layout
	FileMode fs.FileMode // at least 0400
	Logger   *slog.Logger
	Repaired func() // called after each repair
	// Swap waits until a new generation disturbs no app, and then calls rename to make it current. nil does not wait.
	Swap func(ctx context.Context, rename func() error) error
}

// A Writer owns a volume from Open to Close. Its methods are safe for concurrent use.
type Writer struct {
	opts        Options
	now         func() time.Time
	events      *events
	timer       *time.Timer // wakes Run at due
	sweepPeriod time.Duration
	limit       *rate.Limiter // of repairs

	current atomic.Pointer[generation.Generation] // immutable

	mu        sync.Mutex // guards the fields below and every write to the volume
	vol       volume.Volume
	last      uint64    // highest number ever used, as far as the volume shows
	old       []retired // generations in their grace period, oldest first
	notified  generation.Notified
	uncertain uncertain
	swept     int             // entries compared in the current sweep
	nextSweep time.Time       // of the next step of the sweep
	warned    map[string]bool // logged warnings, until a complete repair
	foreign   map[string]bool // logged warnings about foreign entries
}

// Open locks the volume, recovers from the state after an earlier process, and
// returns its Writer. Its errors wrap volume.ErrUnusable, or ctx's error if ctx ends first.
func Open(ctx context.Context, opts Options) (*Writer, error) {
	vol, err := volume.Open(ctx, opts.Dir)
	if err != nil {
		return nil, err
	}
	events, err := watchVolume(opts.Dir)
	if err != nil {
		opts.Logger.Warn("inotify is unavailable; changes by other processes are found within a minute", "err", err)
	}
	return open(ctx, vol, opts, time.Now, events)
}

// New returns the Writer of a volume opened by the caller, without inotify.
func New(ctx context.Context, vol volume.Calls, opts Options) (*Writer, error) {
	return open(ctx, volume.Volume{Calls: vol}, opts, time.Now, &events{})
}

// open returns a Writer, or closes the volume.
func open(
	ctx context.Context, vol volume.Volume, opts Options, now func() time.Time, events *events,
) (*Writer, error) {
	if opts.Swap == nil {
		opts.Swap = swapNow
	}
	w := &Writer{
		opts: opts, now: now, vol: vol, events: events,
		timer: time.NewTimer(time.Hour), limit: rate.NewLimiter(rate.Every(repairEvery), repairBurst),
		sweepPeriod: sweepPeriod, warned: map[string]bool{}, foreign: map[string]bool{},
		uncertain: uncertain{unconfirmed: true, unsynced: map[string]bool{}, misreads: map[string]int{}},
	}
	w.current.Store(&generation.Generation{})
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func swapNow(_ context.Context, rename func() error) error { return rename() }

// Close releases the volume and its lock. The files stay.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	return errors.Join(w.events.close(), w.vol.Close())
}

// Current returns the number and the content of the current generation, or 0 and no
// content before the first generation. The caller must not modify the maps.
func (w *Writer) Current() (number uint64, content generation.Content) {
	g := w.known()
	return g.Record.Generation, g.Content
}

// known returns the current generation, or the empty generation if the Secrets of
// its files are unknown. Such files stay until the first publish replaces them.
func (w *Writer) known() *generation.Generation {
	g := w.current.Load()
	if len(g.Record.Unowned) > 0 {
		return &generation.Generation{}
	}
	return g
}

// Newest returns the number of the generation visible to apps. It returns 0 if the volume contains no generation, if
// ..data could not be restored at startup, or if the Secrets of the files are unknown (see known).
func (w *Writer) Newest() uint64 {
	if w.uncertain.unreachable.Load() {
		return 0
	}
	return w.known().Record.Generation
}

// ChangesSince returns the changes between a generation and the current one.
func (w *Writer) ChangesSince(generation uint64) notification.Changes {
	return w.current.Load().Record.ChangesSince(generation)
}

// State is the recorded state of a volume. It contains no values.
type State struct {
	generation.Record                     // of the generation visible to apps, see Newest; empty if there is none
	Notified          generation.Notified // the ID of the volume, and the record of each target
}

// State returns the current state of the volume. The caller must not modify the maps.
func (w *Writer) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Newest() == 0 {
		return State{Notified: w.notified}
	}
	return State{Record: w.known().Record, Notified: w.notified}
}

// ReadState reads the state of the volume at dir. Another process may own the volume.
func ReadState(dir string) (state State, err error) {
	err = volume.Read(dir, func(v volume.Volume) (err error) {
		if _, state.Record, err = v.ReadCurrent(); err == nil {
			state.Notified, _ = v.ReadNotified() // if it cannot be read, the state of the targets is unknown
		}
		return err
	})
	return state, err
}

// TargetRecords returns the record of each target. If lost is set, earlier records could not be read. The caller must
// not modify the map.
func (w *Writer) TargetRecords() (records map[string]notification.TargetRecord, lost bool) {
	n := w.State().Notified
	return n.Targets, n.Lost
}

// SetTargetRecord replaces the record of a target. It is on disk when SetTargetRecord returns nil. After a crash before
// then, the target is notified twice rather than not at all.
func (w *Writer) SetTargetRecord(target string, record notification.TargetRecord) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.notified.With(target, record)
	err := w.makeRoom(func() error { return w.vol.Replace(next.Entry(w.opts.FileMode)) })
	if err == nil {
		err = w.vol.SyncDir(".")
	}
	if err != nil {
		return w.vol.Explain(fmt.Errorf("record a notification in %q: %w", w.opts.Dir, err))
	}
	w.notified = next
	return nil
}
