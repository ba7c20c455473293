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
// nothing else, after it TIME and nothing else, and a crash leaves what the
// next start (recover.go) takes away or completes; a publish that failed takes
// it away itself.
//
//  1. mkdir TIME.
//     Readers: a directory that nothing points to.
//     A crash leaves: TIME without a record. The next start removes it.
//  2. In TIME, outer first, mkdir of each directory; of each file
//     open(O_CREAT|O_EXCL), write, fsync, close. Where umask or a default ACL took
//     something of the mode also chmod, or fchmod.
//     Readers: as in 1. A crash leaves: as in 1, with files, maybe cut short.
//  3. fsync of each directory in TIME, inner first, and of TIME.
//     Readers: as in 1. A crash leaves: as in 1.
//  4. The record TIME.json beside it, by the calls of 2.
//     Readers: a file that they do not look for.
//     A crash leaves: a generation that nothing points to, of a number above
//     OLD's. The next start removes both.
//  5. The links that apps will need and that are not there. In a Secret's
//     directory that there is: symlink, then fsync of it. For a new Secret, under
//     a temporary name: mkdir, symlinks, fsync, then rename.
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
//     ..data_tmp, rename over its ..data, to the target that this had. With a new
//     mode also chmod of that directory.
//     Readers: no difference; watches on that directory wake.
//     A crash leaves: ..data_tmp there, which the next start removes, and
//     watchers asleep that were not reached; apps are notified all the same.
//  10. chmod of OLD's files to the mode they have.
//     Readers: no difference; watches on those inodes wake.
//     A crash leaves: as in 9.
//  11. unlink of the links that the new set lacks; rename of the directories of
//     Secrets that it lacks to a temporary name, fsync DIR, and unlink of what is
//     in them.
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
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/secret-sync/secret-sync/writer/inotify"
	"github.com/secret-sync/secret-sync/writer/mount"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// What a generation is made of is the plan's.
type (
	Files   = plan.Files
	Set     = plan.Set
	Changes = plan.Changes
)

// ErrUnusable is in the errors that only a change from outside can end: of the
// volume, or of the Pod's spec. The caller cannot go on.
var ErrUnusable = mount.ErrUnusable

// Options are a Writer's. Dir and Logger are required.
type Options struct {
	Dir      string
	Flat     bool        // DIR/file instead of DIR/secret/file
	FileMode fs.FileMode // 0400 at least
	Logger   *slog.Logger
	Repaired func() // called after each repair; may be nil
	// Volume opens the volume at Dir; nil: the mount, with inotify on it. Tests put
	// their own in its place, which fails, cuts off and records calls, or is in
	// memory.
	Volume func(dir string) (mount.Volume, error)

	now    func() time.Time                                     // tests
	limit  func() *rate.Limiter                                 // tests: how often to repair
	notify func(string, *slog.Logger) (*inotify.Watcher, error) // tests: no inotify
	sweep  func() (<-chan time.Time, func())                    // tests: when to compare all
}

// generation is one that is, or was, published. Nothing in it changes once it is
// the current one.
type generation struct {
	*plan.Plan
	record plan.Record
	set    Set
	// restored is set while the content is what was found on disk at start, and
	// no caller has confirmed all of it.
	restored bool
}

func newGeneration(dir string, rec plan.Record, set Set, restored bool) *generation {
	return &generation{plan.New(dir, rec, set), rec, set, restored}
}

// anonymous tells of files without a readable record, in the flat layout: which
// Secrets they are from is not known. They stay until the first Publish, but are
// no set to go on from.
func (g *generation) anonymous() bool {
	_, ok := g.record.Secrets[""]
	return ok
}

// Writer owns a volume, from Open to Close. Its methods may be called from
// several goroutines.
type Writer struct {
	opts    Options
	log     *slog.Logger
	limit   *rate.Limiter
	inotify *inotify.Watcher
	poke    chan struct{} // wakes Run: there is something to time
	recheck chan struct{} // wakes Run: compare now

	current atomic.Pointer[generation] // what ..data points to; nil for nothing
	astray  atomic.Bool                // it does not point there: it could not be put back at start

	mu        sync.Mutex // guards all that follows, and every write to the volume
	vol       mount.Volume
	newest    time.Time       // of the newest name that was given out
	last      uint64          // the highest number that was ever used, as far as the volume tells
	old       []retired       // generations within their grace, oldest first
	notified  notifiedRecord  // which target was notified of which generation
	pending   bool            // something did not go through, and is tried again
	unsynced  bool            // the last swap may not be on disk: what it replaced is not removed
	contended bool            // the log says that something undoes the repairs
	foreign   map[string]bool // entries of others that were warned of
	warned    map[string]bool // of what is tried again
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
		opts: opts, log: opts.Logger, limit: opts.limit(), vol: vol,
		poke: make(chan struct{}, 1), recheck: make(chan struct{}, 1), warned: map[string]bool{}, foreign: map[string]bool{},
	}
	if err := w.recover(); err != nil {
		return nil, errors.Join(err, w.vol.Close())
	}
	w.inotify, err = opts.notify(opts.Dir, w.log)
	if err != nil { // inotify is used up on many nodes: no reason to stop
		w.log.Warn("no inotify: the volume is compared every minute only", "err", err)
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
		o.notify = func(string, *slog.Logger) (*inotify.Watcher, error) { return nil, nil }
	}
	if o.Volume == nil {
		o.Volume = openMount
	}
	if o.limit == nil {
		o.limit = func() *rate.Limiter { return rate.NewLimiter(rate.Every(repairEvery), repairBurst) }
	}
	if o.sweep == nil {
		o.sweep = func() (<-chan time.Time, func()) { t := time.NewTicker(sweepEvery); return t.C, t.Stop }
	}
	if o.Repaired == nil {
		o.Repaired = func() {}
	}
	return o
}

func openMount(dir string) (mount.Volume, error) {
	vol, err := mount.Open(dir)
	if err != nil {
		return nil, err // not a Volume that holds a nil pointer
	}
	return vol, nil
}

// Close gives up the volume and its lock. The files stay.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.inotify.Close(), w.vol.Close())
}

// Current gives what is in the volume: nothing, with number 0, before the first
// generation. The maps are not to be changed.
func (w *Writer) Current() (number uint64, set Set) {
	g := w.current.Load()
	if g == nil || g.anonymous() {
		return 0, Set{}
	}
	set = g.set
	set.Complete = g.record.Complete
	return g.record.Generation, set
}

// Newest is the number of the generation in the volume, 0 for none. It is also 0 while
// apps cannot get to it, from a start at which ..data could not be put back until the
// repair, of which Repaired tells.
func (w *Writer) Newest() uint64 {
	if w.astray.Load() {
		return 0
	}
	number, _ := w.Current()
	return number
}

// ChangesSince tells what differs from a generation to the newest one.
func (w *Writer) ChangesSince(generation uint64) Changes {
	if g := w.current.Load(); g != nil {
		return g.record.ChangesSince(generation)
	}
	return (*plan.Record)(nil).ChangesSince(generation)
}

// Publish makes set what apps see, and returns the number of the generation
// that contains it. It writes nothing when nothing changed. On an error apps see
// what they saw before, and the same call may be tried again.
func (w *Writer) Publish(set Set) (number uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set.Secrets = maps.Clone(set.Secrets)
	cur := w.current.Load()
	if cur != nil {
		if err := w.readAgain(cur, set); err != nil {
			return 0, w.explain(err)
		}
	}
	if cur != nil && !w.differs(cur, set) {
		return cur.record.Generation, w.confirm(cur, set)
	}
	rec := w.nextRecord(cur, set)
	if err := rec.Validate(); err != nil {
		return 0, fmt.Errorf("publish in %q: %w", w.opts.Dir, err)
	}
	if err := w.replace(cur, rec, set, false); err != nil {
		return 0, err
	}
	return rec.Generation, nil
}

func (w *Writer) nextRecord(cur *generation, set Set) plan.Record {
	if cur == nil {
		return plan.Next(nil, Set{}, w.last+1, set, w.opts.Flat, w.opts.FileMode)
	}
	return plan.Next(&cur.record, cur.set, w.last+1, set, w.opts.Flat, w.opts.FileMode)
}

// differs reports whether set needs a new generation.
func (w *Writer) differs(cur *generation, set Set) bool {
	if cur.record.FileMode != w.opts.FileMode || cur.record.Flat != w.opts.Flat || len(cur.record.Secrets) != len(set.Secrets) {
		return true
	}
	for name, files := range set.Secrets {
		if cur.differs(name, files) {
			return true
		}
	}
	return false
}

// differs reports whether files, of the Secret of this name, are others than the
// generation's. The same version of a Secret with other content than was found
// on disk at start is no difference: somebody changed or lost a file while
// nobody looked, and apps are not notified of its repair.
func (g *generation) differs(name string, files Files) bool {
	rec, ok := g.record.Secrets[name]
	if !ok || len(rec.Files) != len(files.Content) {
		return true
	}
	for file := range files.Content {
		if at, ok := rec.Files[file]; !ok || at.Mode != files.Modes[file] {
			return true
		}
	}
	sameVersion := g.restored && rec.UID != "" && rec.UID == files.UID && rec.ResourceVersion == files.ResourceVersion
	return !sameVersion && !g.set.Equal(name, files)
}

// confirm takes set for what the current generation has to contain. What was
// found at start is believed only now: it is compared with set, and what someone
// changed while nobody looked is put back.
func (w *Writer) confirm(cur *generation, set Set) error {
	if cur.restored {
		w.current.Store(newGeneration(cur.Dir, cur.record, set, true))
		if _, err := w.repair(); err != nil {
			return err
		}
		confirmed := *w.current.Load()
		confirmed.restored = !set.Complete
		w.current.Store(&confirmed)
	}
	if set.Complete && !cur.record.Complete {
		return w.markComplete(w.current.Load())
	}
	return nil
}

// markComplete keeps on disk that the files, which stay, are all there are.
func (w *Writer) markComplete(cur *generation) error {
	rec := cur.record
	rec.Complete = true
	complete := newGeneration(cur.Dir, rec, cur.set, cur.restored)
	if err := w.replaceFile(complete.Record); err != nil {
		return w.explain(fmt.Errorf("write the record of generation %d in %q: %w", rec.Generation, w.opts.Dir, err))
	}
	w.current.Store(complete)
	return nil
}
