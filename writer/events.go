package writer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/wake"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// events collects the names of the entries reported by inotify, each once, until the Writer takes them. The Writer's
// own writes are reported too. The zero value watches nothing.
type events struct {
	ready wake.Channel // there are names

	dir        string
	notify     *fsnotify.Watcher // nil without inotify
	collectors sync.WaitGroup
	inodes     map[string]uint64 // of the watched directories; guarded by Writer.mu
	mu         sync.Mutex        // guards names
	names      map[string]fsnotify.Op
}

// watchVolume returns the events of the volume mounted at dir, until close.
func watchVolume(dir string) (*events, error) {
	notify, err := fsnotify.NewWatcher()
	if errors.Is(err, unix.EMFILE) { // 128 for each UID and node
		err = fmt.Errorf("%w (raise fs.inotify.max_user_instances on the node)", err)
	}
	if err != nil {
		return &events{}, err
	}
	e := &events{
		dir: dir, notify: notify, ready: wake.NewChannel(),
		inodes: map[string]uint64{}, names: map[string]fsnotify.Op{},
	}
	// Nothing here waits for the Writer: fsnotify holds a lock while it delivers an error, and its other methods wait for
	// the same lock.
	e.collectors.Go(func() {
		for event := range notify.Events {
			name, _ := filepath.Rel(e.dir, event.Name) // both begin with e.dir
			e.report(name, event.Op)
		}
	})
	e.collectors.Go(func() {
		for range notify.Errors {
			e.report("", 0)
		}
	})
	return e, nil
}

// report adds the name of an entry. After an error, some names are missing, and the name "" is reported.
func (e *events) report(name string, op fsnotify.Op) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names[name] |= op
	e.ready.Poke()
}

// take returns the names since the last call. It forgets moved and removed directories: they are no longer watched, or
// are watched under a wrong name.
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

// forget ends the watches of directories.
func (e *events) forget(names ...string) {
	for _, name := range names {
		if _, watched := e.inodes[name]; watched {
			_ = e.notify.Remove(filepath.Join(e.dir, name)) // it may have gone with its directory
		}
		delete(e.inodes, name)
	}
}

// close ends all watches.
func (e *events) close() error {
	if e.notify == nil {
		return nil
	}
	err := e.notify.Close()
	e.collectors.Wait()
	return err
}

// watchDirs watches directories unless they are already watched. It reports whether it began to watch an existing
// directory.
func (w *Writer) watchDirs(names ...string) (began bool) {
	e := w.events
	if e.notify == nil {
		return false
	}
	for _, name := range names {
		info, err := w.vol.Lstat(name)
		if err != nil || !info.Mode.IsDir() || e.inodes[name] == info.Inode {
			continue
		}
		switch err := e.notify.Add(filepath.Join(e.dir, name)); {
		case err == nil:
			began, e.inodes[name] = true, info.Inode
		case !errors.Is(err, unix.ENOENT):
			w.warnOnce("could not watch a directory; changes in it are found within a minute", ".", "err", err)
		}
	}
	return began
}

// checkEvents examines the entries reported by inotify, each once, and repairs the volume if an entry differs from the
// current generation. The Writer's own writes leave no difference. While a retry is pending it does nothing: the retry
// compares everything.
func (w *Writer) checkEvents(ctx context.Context) {
	names := w.events.take()
	cur := w.current.Load()
	if cur.Empty() || w.mustWait() {
		return
	}
	for name := range names {
		if w.mismatch(cur, name) {
			w.reconcileOrRetry(ctx)
			return
		}
	}
}

// mismatch reports whether the entry of an event may differ from the current
// generation. The content of a moved or replaced directory may differ: nothing watched
// it for a while. The Writer watches its new directories before it examines their events.
func (w *Writer) mismatch(cur *generation.Generation, name string) bool {
	want, ok := w.expected(cur, name)
	switch {
	case name == "":
		// The queue of inotify overflowed, perhaps with the Writer's own events, such as three for each
		// key of a large flat publish. Lost events may be another process's: compare everything once.
		return true
	case name == ".", path.Base(name) == generation.Temporary:
	case ok:
		return w.isDifferent(want) || want.Mode.IsDir() && w.watchDirs(name)
	case generation.Top(name) == cur.Dir:
		return !w.vol.IsGone(name)
	case path.Dir(name) == "." && !w.vol.IsGone(name):
		if own, err := w.vol.IsOwn(name); !own && err == nil {
			w.warnOnce(foreignEntry, name)
		}
	}
	return false
}
