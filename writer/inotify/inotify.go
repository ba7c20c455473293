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

// Watcher watches directories below dir.
type Watcher struct {
	dir    string
	log    *slog.Logger
	notify *fsnotify.Watcher
	warned atomic.Bool // that some directory cannot be watched
}

// New makes a Watcher for the volume at dir. It calls lost, which must not block,
// when the kernel has lost events.
func New(dir string, log *slog.Logger, lost func()) (*Watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if errors.Is(err, syscall.EMFILE) { // 128 for each UID and node
		err = fmt.Errorf("%w (raise fs.inotify.max_user_instances on the node to have repairs at once)", err)
	}
	if err != nil {
		return nil, err
	}
	// fsnotify holds its lock while it hands an error over, and all other methods
	// need that lock: errors are taken as soon as there are any, until Close.
	go func() {
		for range notify.Errors {
			lost()
		}
	}()
	return &Watcher{dir: filepath.Clean(dir), log: log, notify: notify}, nil
}

// Add watches the directories that have these names now, "." for dir. It watches no
// link: a directory may have been replaced by a link that points out of the volume.
func (w *Watcher) Add(names ...string) {
	if w == nil {
		return
	}
	for _, name := range names {
		p := filepath.Join(w.dir, name)
		if info, err := os.Lstat(p); name != "." && (err != nil || !info.IsDir()) {
			continue
		}
		err := w.notify.Add(p)
		if err != nil && !errors.Is(err, syscall.ENOENT) && !w.warned.Swap(true) {
			w.log.Warn("the kernel watches no more directories: some of what others change is found within a minute only", "path", name, "err", err)
		}
	}
}

// Remove ends the watches on directories, if there are any.
func (w *Watcher) Remove(names ...string) {
	if w == nil {
		return
	}
	for _, name := range names {
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

// Name is the entry that an event is about, below dir; "." for dir itself.
func (w *Watcher) Name(e fsnotify.Event) string {
	name, below := strings.CutPrefix(e.Name, w.dir+"/")
	if !below {
		return "."
	}
	return name
}

// Close ends all watches.
func (w *Watcher) Close() error {
	if w == nil {
		return nil
	}
	return w.notify.Close()
}
