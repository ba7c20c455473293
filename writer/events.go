package writer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
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
type events struct {
	dir    string
	notify *fsnotify.Watcher // nil without inotify
	ready  wake.Channel      // there are names
	done   chan struct{}     // collect has returned

	inodes map[string]uint64 // of the watched directories; the Writer's lock guards it
	mu     sync.Mutex        // guards names
	names  map[string]fsnotify.Op
}

func newEvents(dir string) (*events, error) {
	notify, err := fsnotify.NewWatcher()
	if errors.Is(err, syscall.EMFILE) { // 128 for each UID and node
		err = fmt.Errorf("%w (raise fs.inotify.max_user_instances on the node)", err)
	}
	e, _ := noEvents(dir)
	if err == nil {
		e.notify = notify
		go e.collect()
	}
	return e, err
}

// noEvents returns events that watch nothing.
func noEvents(dir string) (*events, error) {
	return &events{
		dir: filepath.Clean(dir), ready: wake.NewChannel(), done: make(chan struct{}),
		inodes: map[string]uint64{}, names: map[string]fsnotify.Op{},
	}, nil
}

// collect runs until close. It never waits for the Writer: fsnotify holds a lock
// while it delivers an error, and its other methods wait for the same lock. It
// collects an error, after which events are missing, as the name "".
func (e *events) collect() {
	defer close(e.done)
	for {
		name, op := "", fsnotify.Op(0)
		select {
		case event, ok := <-e.notify.Events:
			if !ok {
				return
			}
			name, op = strings.TrimPrefix(event.Name, e.dir+"/"), event.Op
		case _, ok := <-e.notify.Errors:
			if !ok {
				return
			}
		}
		e.mu.Lock()
		e.names[name] |= op
		e.mu.Unlock()
		e.ready.Poke()
	}
}

// take returns the names since the last call. A moved or removed directory is no
// longer watched, or is watched under a wrong name.
func (e *events) take() map[string]fsnotify.Op {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := e.names
	e.names = map[string]fsnotify.Op{}
	for name, op := range names {
		if op.Has(fsnotify.Rename) || op.Has(fsnotify.Remove) {
			delete(e.inodes, name)
		}
	}
	return names
}

// remove ends the watches of directories.
func (e *events) remove(names ...string) {
	for _, name := range names {
		if _, watched := e.inodes[name]; watched {
			_ = e.notify.Remove(filepath.Join(e.dir, name)) // it may have gone with its directory
		}
		delete(e.inodes, name)
	}
}

func (e *events) close() error {
	if e.notify == nil {
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

// watchDirs watches directories unless they are already watched. It reports whether
// it began to watch an existing directory.
func (w *Writer) watchDirs(names ...string) (began bool) {
	if w.events.notify == nil {
		return false
	}
	for _, name := range names {
		info, err := w.vol.Lstat(name)
		if err != nil || !info.Mode.IsDir() || w.events.inodes[name] == info.Inode {
			continue
		}
		switch err := w.events.notify.Add(filepath.Join(w.events.dir, name)); {
		case err == nil:
			began, w.events.inodes[name] = true, info.Inode
		case !errors.Is(err, syscall.ENOENT):
			w.warnOnce("could not watch a directory; changes in it are found within a minute", ".", "err", err)
		}
	}
	return began
}

// checkEvents examines the entries reported by inotify, each once, and repairs the
// volume if an entry differs from the current generation. While a retry is pending
// it does nothing: the retry compares everything.
func (w *Writer) checkEvents(ctx context.Context) {
	names := w.events.take()
	cur := w.current.Load()
	if cur.Empty() || w.mustWait() {
		return
	}
	for name := range names {
		if ctx.Err() != nil {
			return
		}
		if w.mismatch(cur, name) {
			w.repairOrRetry(ctx)
			return
		}
	}
}

// mismatch reports whether the entry of an event may differ from the current
// generation. A directory that was moved or replaced needs a comparison of everything
// in it: another process may have changed it while nothing watched it. The Writer
// watches its new directories before it examines their events.
func (w *Writer) mismatch(cur *generation.Generation, name string) bool {
	want, ok := cur.Find(name)
	switch {
	case name == "":
		return true // events are missing
	case name == w.events.dir, path.Base(name) == generation.Temporary:
	case name == generation.NotifiedFile:
		return w.isDifferent(w.notified.Entry(w.opts.FileMode))
	case ok:
		return w.isDifferent(want) || want.Mode.IsDir() && w.watchDirs(name)
	case generation.Top(name) == cur.Dir:
		return !w.vol.IsGone(name)
	case path.Dir(name) == "." && !w.vol.IsOwn(name) && !w.vol.IsGone(name):
		w.warnOnce(foreignEntry, name)
	}
	return false
}
