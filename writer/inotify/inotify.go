// Package inotify watches directories of one volume and gives what the kernel
// reports of them. It promises that nobody who uses it blocks, and reports when
// events were lost. It knows directories and names, and must not know what belongs
// there. All methods work on a nil Watcher, which watches nothing.
package inotify

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// Watcher watches directories below Dir.
type Watcher struct {
	dir    string
	log    *slog.Logger
	notify *fsnotify.Watcher
	lost   chan struct{} // poked when events were lost
	warned atomic.Bool   // that some directory cannot be watched
}

// Event is a change of one entry.
type Event struct {
	Name    string // below Dir; "." for Dir itself
	Created bool   // or renamed to this name
	Renamed bool   // away from this name
}

// New makes a Watcher for the volume at dir.
func New(dir string, log *slog.Logger) (*Watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if errors.Is(err, syscall.EMFILE) { // 128 for each UID and node
		err = fmt.Errorf("%w (raise fs.inotify.max_user_instances on the node to have repairs at once)", err)
	}
	if err != nil {
		return nil, err
	}
	w := &Watcher{dir: filepath.Clean(dir), log: log, notify: notify, lost: make(chan struct{}, 1)}
	go w.drain()
	return w, nil
}

// drain takes errors as soon as there are any, until Close: fsnotify holds its
// lock while it hands one over, and all other methods need that lock.
func (w *Watcher) drain() {
	for range w.notify.Errors {
		select {
		case w.lost <- struct{}{}:
		default:
		}
	}
}

// Add watches the directory that is at name now, "." for Dir. It watches no link:
// the directory may have been replaced by a link that points out of the volume.
func (w *Watcher) Add(name string) {
	if w == nil {
		return
	}
	p := filepath.Join(w.dir, name)
	if info, err := os.Lstat(p); name != "." && (err != nil || !info.IsDir()) {
		return
	}
	err := w.notify.Add(p)
	if err != nil && !errors.Is(err, syscall.ENOENT) && !w.warned.Swap(true) {
		w.log.Warn("the kernel watches no more directories: only the comparison of every minute sees some changes", "path", name, "err", err)
	}
}

// Remove ends the watch on a directory, if there is one.
func (w *Watcher) Remove(name string) {
	if w != nil {
		_ = w.notify.Remove(filepath.Join(w.dir, name)) // it may be gone with its directory
	}
}

// Events gives the kernel's events.
func (w *Watcher) Events() <-chan fsnotify.Event {
	if w == nil {
		return nil
	}
	return w.notify.Events
}

// Lost is poked when some events were not reported.
func (w *Watcher) Lost() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.lost
}

// Event gives what Events gave, with its name below Dir.
func (w *Watcher) Event(e fsnotify.Event) Event {
	name := "."
	if below, ok := strings.CutPrefix(e.Name, w.dir+"/"); ok {
		name = below
	}
	return Event{Name: name, Created: e.Has(fsnotify.Create), Renamed: e.Has(fsnotify.Rename)}
}

// Close ends all watches.
func (w *Watcher) Close() error {
	if w == nil {
		return nil
	}
	return w.notify.Close()
}
