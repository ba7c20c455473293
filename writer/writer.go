// Package writer keeps sets of files as generations in a volume: whole ones,
// each put in the place of the last by a single rename(2).
//
// It promises that a reader who opens DIR/..data once and reads below that
// handle sees one generation whole, for as long as old generations are kept
// (10 s, within bounds); that what is seen is on disk; and that no failure and
// no crash at any call takes away what could be read before it. It does not
// promise that two opens by their own paths see the same generation.
//
// # How a generation is published
//
// These are the system calls, in their order. TIME is the new generation's
// directory, OLD the one it replaces. Up to the rename of 7 apps read OLD and
// nothing else, after it TIME and nothing else. A crash leaves what the next
// start (recover.go) removes or completes; a publish that failed removes it itself.
//
//  1. mkdir TIME.
//     Readers: a directory that nothing points to.
//     A crash leaves: TIME without a record. The next start removes it.
//  2. In TIME, outer first, mkdir of each directory; of each file
//     open(O_CREAT|O_EXCL), write, fsync, close. Where umask or a default ACL took
//     something of the mode also chmod.
//     Readers: as in 1. A crash leaves: as in 1, with files, maybe cut short.
//  3. fsync of each directory in TIME, inner first, and of TIME.
//     Readers: as in 1. A crash leaves: as in 1.
//  4. The record TIME.json beside it, by the calls of 2.
//     Readers: a file that they do not look for.
//     A crash leaves: a generation that nothing points to, of a number above
//     OLD's. The next start removes both.
//  5. The links that apps will need and that OLD had not: symlink under a
//     temporary name, rename, fsync of the directory. Before those of a new Secret,
//     also under a temporary name: mkdir, symlink ..data, fsync, rename.
//     Readers: a new link that dangles so far; no old one is touched.
//     A crash leaves: such names, which the next start removes.
//  6. fsync DIR: all of this survives a power cut before anything points to it.
//     Readers: as in 5. A crash leaves: as in 5.
//  7. symlink ..data_tmp to TIME, rename over ..data.
//     Readers: everything of OLD until the rename, everything of TIME from it
//     on. This is the only moment.
//     A crash between the two leaves: as in 5, and ..data_tmp, which goes too.
//  8. fsync DIR. Until it went through, OLD is not removed.
//     Readers: TIME. A crash leaves: TIME; a power cut leaves OLD or TIME, both
//     whole. In the first case the number is used again for what is published
//     next, which is newer than all that any target was notified of.
//  9. Nested: in each Secret's directory whose files changed, symlink
//     ..data_tmp, rename over its ..data, to the target that this had.
//     Readers: no difference; watches on that directory wake.
//     A crash leaves: ..data_tmp there, which the next start removes, and
//     watchers that were not woken; apps are notified all the same.
//  10. chmod of OLD's files to the mode they have.
//     Readers: no difference; watches on those inodes wake.
//     A crash leaves: as in 9.
//  11. Where links, directories of Secrets or their modes are others than before:
//     what 5 left as OLD needed it; unlink of the links that the new set lacks;
//     rename of the directories of Secrets that it lacks to a temporary name,
//     fsync DIR, and unlink of what is in them (put.go).
//     Readers: links vanish that have dangled since 7.
//     A crash leaves: some of them, which the next start removes.
//  12. Old generations beyond the grace: unlink, record last.
//     Readers: who still holds a handle from before the grace has ENOENT.
//     A crash leaves: part of one, with its record. The next start counts it as
//     old and removes it after a grace.
//
// A new directory for the same number, after someone changed files of TIME, is
// published by the same steps (repair.go).
package writer

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/secret-sync/secret-sync/writer/entry"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/inotify"
	"github.com/secret-sync/secret-sync/writer/inspect"
	"github.com/secret-sync/secret-sync/writer/mount"
)

// What a generation is made of is the plan's, and its state is what others see of it.
type (
	Files   = generation.Files
	Set     = generation.Set
	Changes = generation.Changes
	State   = inspect.State
)

// ErrUnusable is in the errors that only a change from outside can end: of the
// volume, or of the Pod's spec. The caller cannot go on.
var ErrUnusable = mount.ErrUnusable

// Options are a Writer's. Dir, Logger and Repaired are required.
type Options struct {
	Dir      string
	Flat     bool        // DIR/file instead of DIR/secret/file
	FileMode fs.FileMode // 0400 at least
	Logger   *slog.Logger
	Repaired func() // called after each repair
	// Volume opens the volume at Dir; nil: the mount, with inotify on it. Tests put
	// their own in its place, which fails, cuts off and records calls, or is in
	// memory.
	Volume func(dir string) (mount.Volume, error)

	now    func() time.Time                                             // tests
	notify func(string, *slog.Logger, func()) (*inotify.Watcher, error) // tests: no inotify
}

// Writer owns a volume, from Open to Close. Its methods may be called from
// several goroutines.
type Writer struct {
	opts    Options
	log     *slog.Logger
	inotify *inotify.Watcher
	poke    chan struct{} // wakes Run: compare
	timer   *time.Timer   // wakes Run: see due
	sweep   time.Duration // how often to compare all, whatever happens
	limit   *rate.Limiter // how often to repair

	current atomic.Pointer[generation.Plan] // what ..data points to; nothing in it changes
	astray  atomic.Bool                     // it does not point there: it could not be put back at start

	mu       sync.Mutex // guards all that follows, and every write to the volume
	vol      entry.Volume
	restored bool                // current is what was found at start, and no caller has confirmed all of it
	last     uint64              // the highest number that was ever used, as far as the volume shows
	old      []retired           // generations within their grace, oldest first
	notified generation.Notified // which target was notified of which generation
	unsynced bool                // the last swap may not be on disk: what it replaced is not removed
	again    time.Time           // something was not put right: compare then, and not before. Zero: all was
	warned   map[string]bool     // what the log has warned of → whether it lasts
}

// Open takes the volume: it checks and locks it, and recovers what an earlier
// process left (see recover.go). Its errors wrap ErrUnusable.
func Open(opts Options) (*Writer, error) {
	opts = opts.withDefaults()
	vol, err := opts.Volume(opts.Dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		opts: opts, log: opts.Logger, vol: entry.Volume{Volume: vol}, poke: make(chan struct{}, 1), timer: time.NewTimer(time.Hour),
		sweep: sweepEvery, limit: rate.NewLimiter(rate.Every(repairEvery), repairBurst), warned: map[string]bool{},
	}
	if err := w.recover(); err != nil {
		return nil, errors.Join(err, vol.Close())
	}
	w.inotify, err = opts.notify(opts.Dir, w.log, w.compareSoon)
	if err != nil { // inotify is used up on many nodes: no reason to stop
		w.log.Warn("no inotify: what others change in the volume is found within a minute", "err", err)
	}
	w.watch()
	return w, nil
}

func (o Options) withDefaults() Options {
	if o.now == nil {
		o.now = time.Now
	}
	if o.notify == nil && o.Volume == nil {
		o.notify = inotify.New
	}
	if o.notify == nil {
		o.notify = func(string, *slog.Logger, func()) (*inotify.Watcher, error) { return nil, nil }
	}
	if o.Volume == nil {
		o.Volume = mount.Open
	}
	return o
}

// Close gives up the volume and its lock. The files stay.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	return errors.Join(w.inotify.Close(), w.vol.Close())
}

// Current gives what is in the volume: nothing, with number 0, before the first
// generation. The maps are not to be changed.
func (w *Writer) Current() (number uint64, set Set) {
	g := w.known()
	set = g.Set
	set.Complete = g.Record.Complete
	return g.Record.Generation, set
}

// known is the current generation, or an empty one where its record was lost in the
// flat layout: which Secrets the files are from is not known. They stay until the
// first Publish, but are no set to go on from.
func (w *Writer) known() *generation.Plan {
	g := w.current.Load()
	if _, lost := g.Record.Secrets[""]; lost {
		return &generation.Plan{}
	}
	return g
}

// Newest is the number of the generation in the volume, 0 for none. It is also 0 while
// apps cannot get to it, from a start at which ..data could not be put back until the
// repair, of which Repaired tells.
func (w *Writer) Newest() uint64 {
	if w.astray.Load() {
		return 0
	}
	return w.known().Record.Generation
}

// ChangesSince is what differs from a generation to the newest one.
func (w *Writer) ChangesSince(generation uint64) Changes {
	return w.current.Load().Record.ChangesSince(generation)
}

// State is that of the volume now.
func (w *Writer) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return State{Record: w.known().Record, Notified: maps.Clone(w.notified.Targets)}
}
