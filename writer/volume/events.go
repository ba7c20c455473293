package volume

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/wake"
)

// Events collects the names of the entries reported by inotify, each once, until the
// owner of the volume takes them. The owner's own writes are reported too. Report is
// safe for concurrent use with the other methods. The zero value watches nothing.
type Events struct {
	Ready wake.Channel // there are names

	dir    string
	notify *fsnotify.Watcher // nil without inotify
	done   chan struct{}     // collect has returned
	inodes map[string]uint64 // of the watched directories
	mu     sync.Mutex        // guards names
	names  map[string]fsnotify.Op
}

// NewEvents returns Events for the volume mounted at dir.
func NewEvents(dir string) (*Events, error) {
	notify, err := fsnotify.NewWatcher()
	if errors.Is(err, unix.EMFILE) { // 128 for each UID and node
		err = fmt.Errorf("%w (raise fs.inotify.max_user_instances on the node)", err)
	}
	if err != nil {
		return &Events{}, err
	}
	e := &Events{
		dir: filepath.Clean(dir), notify: notify, Ready: wake.NewChannel(), done: make(chan struct{}),
		inodes: map[string]uint64{}, names: map[string]fsnotify.Op{},
	}
	go e.collect()
	return e, nil
}

// collect runs until Close. It never waits for the owner: fsnotify holds a lock while
// it delivers an error, and its other methods wait for the same lock.
func (e *Events) collect() {
	defer close(e.done)
	for {
		select {
		case event, ok := <-e.notify.Events:
			if !ok {
				return
			}
			name, _ := filepath.Rel(e.dir, event.Name) // both begin with e.dir
			e.Report(name, event.Op)
		case _, ok := <-e.notify.Errors:
			if !ok {
				return
			}
			e.Report("", 0)
		}
	}
}

// Report adds the name of an entry. After an error, some names are missing, and the name "" is reported.
func (e *Events) Report(name string, op fsnotify.Op) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names[name] |= op
	e.Ready.Poke()
}

// Take returns the names since the last call. A moved or removed directory is no
// longer watched, or is watched under a wrong name.
func (e *Events) Take() map[string]fsnotify.Op {
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

// Watch watches directories unless they are already watched. It reports whether it
// began to watch an existing directory, and returns the last error.
func (e *Events) Watch(v Volume, names ...string) (began bool, err error) {
	if e.notify == nil {
		return false, nil
	}
	for _, name := range names {
		info, failed := v.Lstat(name)
		if failed != nil || !info.Mode.IsDir() || e.inodes[name] == info.Inode {
			continue
		}
		switch failed := e.notify.Add(filepath.Join(e.dir, name)); {
		case failed == nil:
			began, e.inodes[name] = true, info.Inode
		case !errors.Is(failed, unix.ENOENT):
			err = failed
		}
	}
	return began, err
}

// Forget ends the watches of directories.
func (e *Events) Forget(names ...string) {
	for _, name := range names {
		if _, watched := e.inodes[name]; watched {
			_ = e.notify.Remove(filepath.Join(e.dir, name)) // it may have gone with its directory
		}
		delete(e.inodes, name)
	}
}

// Close ends all watches.
func (e *Events) Close() error {
	if e.notify == nil {
		return nil
	}
	err := e.notify.Close()
	<-e.done
	return err
}
