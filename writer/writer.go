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
//     Readers: a directory to which nothing leads.
//     A crash leaves: TIME without a record. The next start removes it.
//  2. In TIME, outer first, mkdir of each directory; of each file
//     open(O_CREAT|O_EXCL), write, fsync, close. Where umask or a default ACL took
//     something of the mode also chmod, or fchmod.
//     Readers: as in 1. A crash leaves: as in 1, with files, maybe cut short.
//  3. fsync of each directory in TIME, inner first, and of TIME.
//     Readers: as in 1. A crash leaves: as in 1.
//  4. The record TIME.json beside it, by the calls of 2.
//     Readers: a file that they do not look for.
//     A crash leaves: a generation that nothing leads to, of a number above
//     OLD's. The next start removes both.
//  5. The links that apps will need and that are not there. In a Secret's
//     directory that there is: symlink, then fsync of it. For a new Secret, under
//     a temporary name: mkdir, symlinks, fsync, then rename.
//     Readers: a new name that leads nowhere yet; no old one is touched.
//     A crash leaves: such names, which the next start removes.
//  6. fsync DIR: all of this survives a power cut before anything leads to it.
//     Readers: as in 5. A crash leaves: as in 5.
//  7. symlink ..data_tmp to TIME, rename over ..data.
//     Readers: everything of OLD until the rename, everything of TIME from it
//     on. This is the only moment.
//     A crash between the two leaves: as in 5, and ..data_tmp, which goes too.
//  8. fsync DIR. Until it went through, OLD is not removed.
//     Readers: TIME. A crash leaves: TIME; a power cut leaves OLD or TIME, both
//     whole. In the first case the number is used again for what is published
//     next, which is newer than all that anyone was told.
//  9. Nested: in each Secret's directory whose files changed, symlink
//     ..data_tmp, rename over its ..data, to the target that this had. With a new
//     mode also chmod of that directory.
//     Readers: no difference; watches on that directory wake.
//     A crash leaves: ..data_tmp there, which the next start removes, and
//     watchers asleep that were not reached; apps are told all the same.
//  10. chmod of OLD's files to the mode they have.
//     Readers: no difference; watches on those inodes wake.
//     A crash leaves: as in 9.
//  11. unlink of the links that the new set lacks; rename of the directories of
//     Secrets that it lacks to a temporary name, fsync DIR, and unlink of what is
//     in them.
//     Readers: names vanish that have led nowhere since 7.
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

	"github.com/secret-sync/secret-sync/internal/secret"
)

// Files is what one Secret has in a generation.
type Files struct {
	UID, ResourceVersion string                  // go into the record, nothing is derived from them
	Content              map[string]secret.Value // by clean relative path; no element begins with ".."
}

// Set is what a generation holds, by the name of the Secret.
type Set struct {
	Complete bool
	Secrets  map[string]Files
}

// Options are a Writer's. Dir and Logger are required.
type Options struct {
	Dir      string
	Flat     bool        // DIR/file instead of DIR/secret/file
	FileMode fs.FileMode // 0400 at least
	Logger   *slog.Logger
	Repaired func() // called after each repair; may be nil

	now    func() time.Time                  // tests
	volume func(volume) volume               // tests: what stands before the real one
	limit  func() *rate.Limiter              // tests: how often to repair
	notify func() (*inotify, error)          // tests: no inotify
	sweep  func() (<-chan time.Time, func()) // tests: when to compare all
}

// ErrUnusable is in the errors that only a change from outside can mend: of the
// volume, of the Pod's spec. The caller cannot go on.
var ErrUnusable = errors.New("the volume cannot be used")

// generation is one that is, or was, published. It is not changed once others
// can see it.
type generation struct {
	dir    string
	record record
	set    Set
	// restored is set while the content is what was found on disk at start, and
	// no caller has confirmed all of it.
	restored bool
	leading  map[string]string // links, when they were asked for
	dirNames []string          // names, when they were asked for
	files    []string
	damaged  int64 // what it takes, of one whose set is left out because someone changed it
}

// nameless tells of files without a readable record, in the flat layout, that
// nobody knows whose they are. They stay until the first Publish, but are no set
// to go on from.
func (g *generation) nameless() bool {
	_, ok := g.record.Secrets[""]
	return ok
}

func (g *generation) holds(secret, file string, value secret.Value) bool {
	v, ok := g.set.Secrets[secret].Content[file]
	return ok && v.Equal(value)
}

// Writer owns a volume, from Open to Close. Its methods may be called from
// several goroutines.
type Writer struct {
	opts Options
	log  *slog.Logger

	current atomic.Pointer[generation] // what ..data leads to; nil for nothing

	mu       sync.Mutex // held by all that writes
	vol      volume
	named    time.Time         // of the newest name that was given out
	last     uint64            // the highest number that was ever used, as far as the volume tells
	old      []retired         // generations within their grace, oldest first
	told     map[string]uint64 // target → generation
	toldLost bool              // what was told is not known: a target without a record is owed
	untidy   bool              // something could not be removed, and is tried again
	unlinked bool              // some links could not be made, and are tried again
	unsynced bool              // the last swap may not be on disk: what it replaced is not removed
	foreign  map[string]bool   // names that were warned of
	said     map[string]bool   // warnings of what is tried again
	inotify  *inotify
	limit    *rate.Limiter
	fought   bool          // it was said that something fights back
	poke     chan struct{} // wakes Run: there is something to time
	recheck  chan struct{} // of capacity one: compare the volume now
}

// Open takes the volume: it checks and locks it, and recovers what an earlier
// process left (see recover.go). Errors are of the volume and wrap ErrUnusable.
func Open(opts Options) (*Writer, error) {
	w := &Writer{
		opts: opts.withDefaults(), log: opts.Logger,
		told: map[string]uint64{}, foreign: map[string]bool{}, said: map[string]bool{}, poke: make(chan struct{}, 1), recheck: make(chan struct{}, 1),
	}
	w.limit = w.opts.limit()
	vol, err := openVolume(opts.Dir)
	if err != nil {
		return nil, err
	}
	w.vol = w.opts.volume(vol)
	if err := w.recover(); err != nil {
		return nil, errors.Join(err, w.vol.Close())
	}
	w.startWatching()
	return w, nil
}

func (o Options) withDefaults() Options {
	if o.now == nil {
		o.now = time.Now
	}
	if o.volume == nil {
		o.volume = func(v volume) volume { return v }
	}
	if o.limit == nil {
		o.limit = newLimit
	}
	if o.notify == nil {
		o.notify = newInotify
	}
	if o.sweep == nil {
		o.sweep = func() (<-chan time.Time, func()) { t := time.NewTicker(sweepEvery); return t.C, t.Stop }
	}
	if o.Repaired == nil {
		o.Repaired = func() {}
	}
	return o
}

// Close gives up the volume and its lock. The files stay.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.inotify.Close(), w.vol.Close())
}

// Recheck has Run compare the volume now, as it does every minute. It does not
// block.
func (w *Writer) Recheck() {
	select {
	case w.recheck <- struct{}{}:
	default: // one is due already
	}
}

// Current gives what is in the volume: nothing, with number 0, before the first
// generation. The maps are not to be changed.
func (w *Writer) Current() (number uint64, set Set) {
	g := w.current.Load()
	if g == nil || g.nameless() {
		return 0, Set{}
	}
	set = g.set
	set.Complete = g.record.Complete
	return g.record.Generation, set
}

// Newest is the number of the generation in the volume, 0 for none.
func (w *Writer) Newest() uint64 {
	number, _ := w.Current()
	return number
}

// ChangesSince tells what differs from generation told to the newest one.
func (w *Writer) ChangesSince(told uint64) Changes {
	g := w.current.Load()
	if g == nil {
		return Changes{Secrets: []string{}, Added: []string{}, Changed: []string{}, Removed: []string{}}
	}
	return g.record.changesSince(told)
}

// Publish makes set what apps see, and returns the number of the generation
// that holds it. It writes nothing when nothing changed. On an error apps see
// what they saw before, and the same call may be tried again.
func (w *Writer) Publish(set Set) (number uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set.Secrets = maps.Clone(set.Secrets)
	cur := w.current.Load()
	if !w.differs(cur, set) {
		return cur.record.Generation, w.confirm(cur, set)
	}
	if err := validate(w.opts.Flat, set.Secrets); err != nil {
		return 0, fmt.Errorf("publish in %q: %w", w.opts.Dir, err)
	}
	number = w.last + 1
	rec := next(cur, number, set, w.opts.Flat, w.opts.FileMode)
	if err := w.replace(cur, generation{record: rec, set: set}); err != nil {
		return 0, err
	}
	return number, nil
}

// confirm takes set for what the current generation is to hold. What was found
// at start is believed only now: it is compared with set, and what someone
// changed while nobody looked is put back.
func (w *Writer) confirm(cur *generation, set Set) error {
	if cur.restored {
		believed := *cur
		believed.set = set
		w.current.Store(&believed)
		if _, err := w.repair(&believed); err != nil {
			return err
		}
		believed = *w.current.Load()
		believed.restored = !set.Complete
		w.current.Store(&believed)
		cur = &believed
	}
	if set.Complete && !cur.record.Complete {
		return w.markComplete(cur)
	}
	return nil
}
