package writer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"github.com/secret-sync/secret-sync/internal/wake"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// events collects the names of the entries reported by inotify, each once, until the
// Writer examines them. The Writer's own writes are reported too, but leave no
// difference to the current generation.
//
// All methods work on nil, which watches nothing.
type events struct {
	dir    string
	notify *fsnotify.Watcher
	ready  wake.Channel  // there are names
	done   chan struct{} // collect has returned

	// inodes contains the inode of every watched directory. A directory of another
	// inode has not been watched yet. The Writer's lock guards it.
	inodes map[string]uint64

	mu    sync.Mutex // guards the fields below
	names map[string]fsnotify.Op
	lost  bool // the kernel dropped events
}

func newEvents(dir string) (*events, error) {
	notify, err := fsnotify.NewWatcher()
	if errors.Is(err, syscall.EMFILE) { // 128 for each UID and node
		err = fmt.Errorf("%w (raise fs.inotify.max_user_instances on the node)", err)
	}
	if err != nil {
		return nil, err
	}
	e := &events{
		dir: filepath.Clean(dir), notify: notify, ready: wake.NewChannel(), done: make(chan struct{}),
		inodes: map[string]uint64{}, names: map[string]fsnotify.Op{},
	}
	go e.collect()
	return e, nil
}

func noEvents(string) (*events, error) { return nil, nil }

// collect runs until close. It never waits for the Writer: fsnotify holds a lock
// while it delivers an error, and its other methods wait for the same lock.
func (e *events) collect() {
	defer close(e.done)
	for {
		select {
		case event, ok := <-e.notify.Events:
			if !ok {
				return
			}
			e.add(e.name(event), event.Op, false)
		case _, ok := <-e.notify.Errors:
			if !ok {
				return
			}
			e.add(".", 0, true)
		}
	}
}

func (e *events) add(name string, op fsnotify.Op, lost bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names[name] |= op
	e.lost = e.lost || lost
	e.ready.Poke()
}

// name returns the path of an event's entry below the volume, "." for the volume.
func (e *events) name(event fsnotify.Event) string {
	name, below := strings.CutPrefix(event.Name, e.dir+"/")
	if !below {
		return "."
	}
	return name
}

// take returns the names since the last call, with their operations. lost reports
// whether some are missing. A moved or removed directory is no longer watched, or is
// watched under a wrong name.
func (e *events) take() (names map[string]fsnotify.Op, lost bool) {
	if e == nil {
		return nil, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	names, lost = e.names, e.lost
	e.names, e.lost = map[string]fsnotify.Op{}, false
	for name, op := range names {
		if op.Has(fsnotify.Rename) || op.Has(fsnotify.Remove) {
			delete(e.inodes, name)
		}
	}
	return names, lost
}

// wait returns a channel that receives when there are names.
func (e *events) wait() <-chan struct{} {
	if e == nil {
		return nil
	}
	return e.ready
}

// remove ends the watches of directories.
func (e *events) remove(names ...string) {
	if e == nil {
		return
	}
	for _, name := range names {
		delete(e.inodes, name)
		_ = e.notify.Remove(filepath.Join(e.dir, name)) // it may have gone with its directory
	}
}

func (e *events) close() error {
	if e == nil {
		return nil
	}
	err := e.notify.Close()
	<-e.done
	return err
}

// watch watches the volume and the directories of the current generation.
func (w *Writer) watch() {
	cur := w.current.Load()
	w.watchDirs(".")
	w.watchDirs(generation.Dirs(cur.Inside)...)
	w.watchDirs(generation.Dirs(cur.Outside)...)
}

// watchDirs watches directories unless they are already watched.
func (w *Writer) watchDirs(names ...string) {
	if w.events == nil {
		return
	}
	for _, name := range names {
		info, err := w.vol.Lstat(name)
		if err != nil || !info.Mode.IsDir() || w.events.inodes[name] == info.Inode {
			continue
		}
		switch err := w.events.notify.Add(filepath.Join(w.events.dir, name)); {
		case err == nil:
			w.events.inodes[name] = info.Inode
		case !errors.Is(err, syscall.ENOENT):
			w.warnOnce("could not watch a directory; changes in it are found within a minute", ".", "err", err)
		}
	}
}

// checkEvents examines the entries reported by inotify, each once, and repairs the
// volume if an entry differs from the current generation. While a retry is pending
// it does nothing: the retry compares everything.
func (w *Writer) checkEvents(ctx context.Context) {
	names, lost := w.events.take()
	cur := w.current.Load()
	if cur.Empty() || w.mustWait() {
		return
	}
	for name := range names {
		if ctx.Err() != nil {
			return
		}
		if lost || w.mismatch(cur, name) {
			w.repairOrRetry(ctx)
			return
		}
	}
}

// mismatch reports whether the entry of an event differs from the current
// generation.
func (w *Writer) mismatch(cur *generation.Generation, name string) bool {
	want, ok := cur.Find(name)
	switch {
	case name == ".", path.Base(name) == generation.Temporary:
		return false
	case name == generation.NotifiedFile:
		return w.isDifferent(w.notified.Entry(w.opts.FileMode))
	case ok && want.Mode.IsDir():
		return w.isDifferent(want) || w.watchAgain(name) && w.subtreeDiffers(cur, name)
	case ok:
		return w.isDifferent(want)
	case generation.Top(name) == cur.Dir:
		return !w.vol.IsGone(name)
	}
	if path.Dir(name) == "." && !w.vol.IsOwn(name) && !w.vol.IsGone(name) {
		w.warnOnce(foreignEntry, name)
	}
	return false
}

// watchAgain watches a directory again if it was moved or replaced, and reports
// whether it did: another process may have changed the directory while nothing
// watched it. The Writer watches its new directories before it examines their
// events.
func (w *Writer) watchAgain(dir string) bool {
	info, err := w.vol.Lstat(dir)
	if err == nil && info.Inode == w.events.inodes[dir] {
		return false
	}
	w.watchDirs(dir)
	return true
}

// subtreeDiffers reports whether an entry below a directory differs from the current
// generation.
func (w *Writer) subtreeDiffers(cur *generation.Generation, dir string) bool {
	below := func(entries []generation.Entry) (out []generation.Entry) {
		for _, e := range entries {
			if e.Path == dir || strings.HasPrefix(e.Path, dir+"/") {
				out = append(out, e)
			}
		}
		return out
	}
	damaged, err := w.damage(cur, below(cur.Inside))
	w.retryLater("could not compare the files, will retry", dir, err)
	return len(damaged) > 0 || slices.ContainsFunc(below(cur.Outside), w.isDifferent)
}
