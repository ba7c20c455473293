package simulation

import (
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// harm does something in the volume that only the program should. mu is held.
func (w *world) harm() {
	kinds := []struct {
		name string
		do   func()
	}{
		{"a file of the generation is changed", func() { w.inGeneration(func(dir *inode, name string) { w.scribble(dir.entries[name]) }) }},
		{"a file of the generation is deleted", func() { w.inGeneration(func(dir *inode, name string) { dir.set(name, nil, true) }) }},
		{"a link is in the place of a file of the generation", func() {
			w.inGeneration(func(dir *inode, name string) { plant(dir, name, newLink("../../etc/passwd")) })
		}},
		{"a file is added to the generation", func() { w.inGeneration(func(dir *inode, _ string) { plant(dir, "added", newFile(0o600, "harm")) }) }},
		{"an app's link is deleted", func() { w.outside(func(dir *inode, name string) { dir.set(name, nil, true) }) }},
		{"an app's link leads elsewhere", func() { w.outside(func(dir *inode, name string) { plant(dir, name, newLink("/etc")) }) }},
		{"a file is in the place of an app's link", func() { w.outside(func(dir *inode, name string) { plant(dir, name, newFile(0o644, "harm")) }) }},
		{"a directory is in the place of an app's link", func() { w.outside(func(dir *inode, name string) { plant(dir, name, full()) }) }},
		{"..data is deleted", func() { w.disk.root.set(plan.DataLink, nil, true) }},
		{"..data leads to another generation", w.turnBack},
		{"..data leads nowhere", func() { plant(w.disk.root, plan.DataLink, newLink("..nowhere")) }},
		{"the record is changed", func() { w.own(".json", w.scribble) }},
		{"the record of notifications is changed", func() { w.scribble(w.disk.root.entries[plan.NotifiedFile]) }},
		{"the record of notifications is deleted", func() { w.disk.root.set(plan.NotifiedFile, nil, true) }},
		{"something has a temporary's name", func() { plant(w.disk.root, pick(w, temporaries), full()) }},
		{"somebody else's file", func() { plant(w.disk.root, "theirs", newFile(0o600, "theirs")) }},
		{"a Secret's directory is deleted", func() { w.disk.root.set(pick(w, secrets), nil, true) }},
		{"a link is in the place of a Secret's directory", func() { plant(w.disk.root, pick(w, secrets), newLink("..data/"+required)) }},
	}
	kind := kinds[w.rand.IntN(len(kinds))]
	if w.reader.published { // else the volume is somebody else's
		w.tracef("harm: %s", kind.name)
		kind.do()
		w.look()
	}
}

var temporaries = []string{plan.DataLink + plan.Temporary, "..link_tmp", plan.NotifiedFile + plan.Temporary}

// plant puts something in the place of whatever has the name.
func plant(dir *inode, name string, n *inode) {
	n.foreign = true
	dir.set(name, n, true)
}

// full is a directory that cannot be removed at once.
func full() *inode {
	dir := newDir(0o755)
	plant(dir, "harm", newFile(0o644, "harm"))
	dir.foreign = true
	return dir
}

func (w *world) scribble(n *inode) {
	if n != nil && n.mode.IsRegular() {
		n.data, n.foreign = []byte("harm"), true
	}
}

// inGeneration picks a file of the generation that apps read.
func (w *world) inGeneration(do func(dir *inode, name string)) {
	name, file := pick(w, secrets), w.rand.IntN(3)
	link := w.disk.root.entries[plan.DataLink]
	if link == nil {
		return
	}
	dir := w.disk.root.entries[string(link.data)]
	if dir != nil && !w.flat {
		dir = dir.entries[name]
	}
	if dir != nil && len(dir.entries) > 0 {
		names := slices.Sorted(maps.Keys(dir.entries))
		do(dir, names[file%len(names)])
	}
}

// outside picks a link that apps go through.
func (w *world) outside(do func(dir *inode, name string)) {
	dir, of, file := w.disk.root, pick(w, secrets), w.rand.IntN(4)
	if !w.flat {
		dir = dir.entries[of]
	}
	if dir == nil || !dir.mode.IsDir() {
		return
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(dir.entries)) {
		if dir.entries[name].isLink() && (!w.flat || name != plan.DataLink) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		do(dir, names[file%len(names)])
	}
}

// own picks the program's file for the generation that apps read.
func (w *world) own(suffix string, do func(*inode)) {
	if link := w.disk.root.entries[plan.DataLink]; link != nil {
		do(w.disk.root.entries[string(link.data)+suffix])
	}
}

// turnBack makes ..data lead to the oldest generation that there is.
func (w *world) turnBack() {
	for _, name := range slices.Sorted(maps.Keys(w.disk.root.entries)) {
		if link := w.disk.root.entries[plan.DataLink]; plan.GenerationName.MatchString(name) && link != nil && string(link.data) != name {
			plant(w.disk.root, plan.DataLink, newLink(name))
			return
		}
	}
}

// operate is somebody who reads why the program cannot use the volume, and removes
// what is not its own. mu is held.
func (w *world) operate() {
	root := w.disk.root
	for _, name := range slices.Sorted(maps.Keys(root.entries)) {
		if n := root.entries[name]; n.foreign && !strings.HasPrefix(name, "..") {
			w.tracef("somebody removes %s", name)
			root.set(name, nil, true)
		}
	}
}

// lose notes that a program cannot know what is in the volume. It may go on from an
// older generation, or begin with the first.
func (r *reader) lose() {
	r.number, r.reset = 0, true
	for name := range r.seen {
		r.dirty[name] = true
	}
}

// believe notes what harm there is when a program starts: it finds that in the
// volume. It reports whether ..data is not there. mu is held.
func (w *world) believe() (lost bool) {
	r, root := &w.reader, w.disk.root
	r.unread = nil
	g := w.current()
	lost = g == nil || g.lost || root.touched[g.name]
	if lost {
		r.lose()
	}
	for name := range r.seen {
		if lost || !w.whole(g, name) {
			r.dirty[name] = true
		}
	}
	for name := range root.entries {
		r.adopted = r.adopted || !r.published && plan.GenerationName.MatchString(name)
	}
	if root.touched[plan.NotifiedFile] { // it knows of no notification
		for _, t := range w.targets {
			t.view = w.views()
		}
	}
	return g == nil
}
