package writer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// inotify watches the directories of the volume that hold something of ours.
// All methods work on nil, which watches nothing: the sweep is left.
type inotify struct {
	w       *fsnotify.Watcher
	lost    chan struct{} // poked when events were lost
	dir     string
	log     *slog.Logger
	limited bool // it was said that some directory cannot be watched
}

func newInotify() (*inotify, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	n := &inotify{w: w, lost: make(chan struct{}, 1)}
	go n.drain()
	return n, nil
}

// drain takes errors as soon as there are any, until Close: fsnotify holds its
// lock while it hands one over, and all that we do with it needs that lock too.
func (n *inotify) drain() {
	for range n.w.Errors {
		select {
		case n.lost <- struct{}{}:
		default:
		}
	}
}

// startWatching begins to watch what recover found. A node where inotify is
// used up (fs.inotify.max_user_instances is 128 a UID) is no reason to stop.
func (w *Writer) startWatching() {
	n, err := w.opts.notify()
	if err != nil {
		if errors.Is(err, syscall.EMFILE) {
			err = fmt.Errorf("%w (raise fs.inotify.max_user_instances on the node to have repairs at once)", err)
		}
		w.log.Warn("inotify is not to be had: the volume is compared every minute only", "err", err)
		return
	}
	n.dir, n.log = filepath.Clean(w.opts.Dir), w.log
	w.inotify = n
	w.inotify.followAll(w.current.Load())
}

// followAll watches DIR, the generation and the directories of its Secrets.
// What is watched already stays so; what was put in its place is watched anew.
func (n *inotify) followAll(g *generation) {
	n.followDir(".")
	if g == nil {
		return
	}
	for _, d := range g.dirs() {
		n.followDir(d)
	}
	for _, name := range g.secretDirs() {
		n.followDir(name)
	}
}

// follow watches the directories of a generation that was just made.
func (n *inotify) follow(g *generation) {
	for _, d := range g.dirs() {
		n.add(d)
	}
}

// forget stops that: changes to it do not matter any more.
func (n *inotify) forget(g *generation) {
	for _, d := range g.dirs() {
		n.forgetDir(d)
	}
}

func (g *generation) dirs() []string {
	dirs, _ := g.names()
	return dirs
}

// followDir watches what is at name now. In the place of a directory there may
// be a link that someone put there: it is not followed out of the volume.
func (n *inotify) followDir(name string) {
	if n == nil {
		return
	}
	if info, err := os.Lstat(filepath.Join(n.dir, name)); err == nil && (name == "." || info.IsDir()) {
		n.add(name)
	}
}

// add watches the directory at name.
func (n *inotify) add(name string) {
	if n == nil {
		return
	}
	if err := n.w.Add(filepath.Join(n.dir, name)); err != nil && !n.limited && !errors.Is(err, syscall.ENOENT) {
		n.limited = true
		n.log.Warn("inotify is used up: some changes are seen by the comparison of every minute only", "path", name, "err", err)
	}
}

func (n *inotify) forgetDir(name string) {
	if n != nil {
		_ = n.w.Remove(filepath.Join(n.dir, name)) // it may be gone with its directory
	}
}

// events are the kernel's; there are none without inotify.
func (n *inotify) events() <-chan fsnotify.Event {
	if n == nil {
		return nil
	}
	return n.w.Events
}

// eventsLost tells that some were not reported.
func (n *inotify) eventsLost() <-chan struct{} {
	if n == nil {
		return nil
	}
	return n.lost
}

// relative gives an event's name below DIR.
func (n *inotify) relative(name string) string {
	if below, ok := strings.CutPrefix(name, n.dir+"/"); ok {
		return below
	}
	rel, err := filepath.Rel(n.dir, name)
	if err != nil {
		return "."
	}
	return filepath.ToSlash(rel)
}

// Close ends the watching.
func (n *inotify) Close() error {
	if n == nil {
		return nil
	}
	return n.w.Close()
}

// concerns tells whether an event is about something of ours that is not as it
// should be: one look at the entry it names. Our own writes leave all as it
// should be, so that they wake nothing.
func (w *Writer) concerns(e fsnotify.Event) bool {
	name := w.inotify.relative(e.Name)
	if path.Base(name) == dataLink+temporary {
		return false // a step of ours, or of no use to anyone
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	cur := w.current.Load()
	if cur == nil || name == "." {
		return false
	}
	want := cur.links()
	switch top := topOf(name); {
	case name == dataLink:
		return !w.leads(dataLink, cur.dir)
	case want[name] != "":
		return !w.leads(name, want[name])
	case top == cur.dir:
		return !w.intactEntry(cur, name, e.Has(fsnotify.Rename))
	case name == recordName(cur.dir):
		return !w.recordIntact(cur)
	case name == notifyFile:
		return !w.toldIntact()
	case want[path.Join(name, dataLink)] != "":
		// A directory that was moved away and back is not watched any more, and
		// one in its place never was.
		w.inotify.followDir(name)
		return !w.modeIntact(name, cur.record.FileMode) || !w.leadAll(name, want)
	case top == name && !isOwn(name) && !w.isOwnLink(name) && !w.isSecretDir(name):
		if _, err := w.vol.Lstat(name); err == nil {
			w.foreignEntry(name)
		}
	}
	return false
}

// leadAll tells whether all links in a Secret's directory are right.
func (w *Writer) leadAll(dir string, want map[string]string) bool {
	for name, target := range want {
		if path.Dir(name) == dir && !w.leads(name, target) {
			return false
		}
	}
	return true
}

// intactEntry tells whether one entry of the generation is as it was made. A
// directory that was moved was not watched for a while: all is compared.
func (w *Writer) intactEntry(cur *generation, name string, moved bool) bool {
	dirs, files := contents(cur.dir, cur.record.Flat, cur.set)
	if value, ok := files[name]; ok {
		return w.fileIntact(cur, name, value)
	}
	if !slices.Contains(dirs, name) {
		return w.isGone(name) // someone's, and gone again
	}
	w.inotify.followDir(name)
	if moved {
		return len(w.brokenContent(cur)) == 0
	}
	return w.modeIntact(name, cur.record.FileMode)
}
