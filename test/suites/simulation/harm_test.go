package simulation

import (
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/test/suites/simulation/program"
	"github.com/secret-sync/secret-sync/test/suites/simulation/volume"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// harm changes an entry of the volume. Only the program may do this. mu is held.
func (w *world) harm() {
	kinds := []struct {
		name string
		do   func()
	}{
		{
			"a file of the generation is changed",
			func() { w.inGeneration(func(dir *volume.Inode, name string) { w.scribble(dir.Entries[name]) }) },
		},
		{
			"a file of the generation is deleted",
			func() { w.inGeneration(func(dir *volume.Inode, name string) { dir.Steal(name) }) },
		},
		{"a link is in the place of a file of the generation", func() {
			w.inGeneration(func(dir *volume.Inode, name string) { dir.Plant(name, volume.NewLink("../../etc/passwd")) })
		}},
		{"a file is added to the generation", func() {
			w.inGeneration(func(dir *volume.Inode, _ string) { dir.Plant("added", volume.NewFile(0o600, "harm")) })
		}},
		{"an app's link is deleted", func() { w.appsLink(func(dir *volume.Inode, name string) { dir.Steal(name) }) }},
		{
			"an app's link points elsewhere",
			func() { w.appsLink(func(dir *volume.Inode, name string) { dir.Plant(name, volume.NewLink("/etc")) }) },
		},
		{"a file is in the place of an app's link", func() {
			w.appsLink(func(dir *volume.Inode, name string) { dir.Plant(name, volume.NewFile(0o644, "harm")) })
		}},
		{
			"a directory replaces an app's link",
			func() { w.appsLink(func(dir *volume.Inode, name string) { dir.Plant(name, full()) }) },
		},
		{"..data is deleted", func() { w.disk.Root.Steal(generation.DataLink) }},
		{"..data leads to another generation", w.revertDataLink},
		{"..data leads nowhere", func() { w.disk.Root.Plant(generation.DataLink, volume.NewLink("..nowhere")) }},
		{"the record is changed", func() { w.own(".json", w.scribble) }},
		{"the record of notifications is changed", func() { w.scribble(w.disk.Root.Entries[generation.NotifiedFile]) }},
		{"the record of notifications is deleted", func() { w.disk.Root.Steal(generation.NotifiedFile) }},
		{"something has a temporary's name", func() { w.disk.Root.Plant(generation.Temporary, full()) }},
		{"somebody else's file", func() { w.disk.Root.Plant("theirs", volume.NewFile(0o600, "theirs")) }},
		{"a Secret's directory is deleted", func() { w.disk.Root.Steal(pick(w, program.Secrets)) }},
		{
			"a link replaces a Secret's directory",
			func() { w.disk.Root.Plant(pick(w, program.Secrets), volume.NewLink("..data/"+program.Required)) },
		},
	}
	kind := kinds[w.rand.IntN(len(kinds))]
	if w.reader.Published() { // otherwise the program would treat the volume as foreign
		w.tracef("harm: %s", kind.name)
		kind.do()
		w.reader.Check()
	}
}

// full returns a directory with content, so it cannot be removed at once.
func full() *volume.Inode {
	dir := volume.NewDir(0o755)
	dir.Plant("harm", volume.NewFile(0o644, "harm"))
	dir.Foreign = true
	return dir
}

func (w *world) scribble(n *volume.Inode) {
	if n != nil && n.Mode.IsRegular() {
		n.Data, n.Foreign = []byte("harm"), true
	}
}

// inGeneration picks a file of the current generation.
func (w *world) inGeneration(do func(dir *volume.Inode, name string)) {
	name, file := pick(w, program.Secrets), w.rand.IntN(3)
	link := w.disk.Root.Entries[generation.DataLink]
	if link == nil {
		return
	}
	dir := w.disk.Root.Entries[string(link.Data)]
	if dir != nil && w.config.Layout == generation.Nested {
		dir = dir.Entries[name]
	}
	if dir != nil && len(dir.Entries) > 0 {
		names := slices.Sorted(maps.Keys(dir.Entries))
		do(dir, names[file%len(names)])
	}
}

// appsLink picks a link used by apps.
func (w *world) appsLink(do func(dir *volume.Inode, name string)) {
	dir, of, file := w.disk.Root, pick(w, program.Secrets), w.rand.IntN(4)
	if w.config.Layout == generation.Nested {
		dir = dir.Entries[of]
	}
	if dir == nil || !dir.Mode.IsDir() {
		return
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(dir.Entries)) {
		if dir.Entries[name].IsLink() && (w.config.Layout == generation.Nested || name != generation.DataLink) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		do(dir, names[file%len(names)])
	}
}

// own picks a file of the program for the current generation.
func (w *world) own(suffix string, do func(*volume.Inode)) {
	if link := w.disk.Root.Entries[generation.DataLink]; link != nil {
		do(w.disk.Root.Entries[string(link.Data)+suffix])
	}
}

// revertDataLink makes ..data point to the oldest generation in the volume.
func (w *world) revertDataLink() {
	for _, name := range slices.Sorted(maps.Keys(w.disk.Root.Entries)) {
		if link := w.disk.Root.Entries[generation.DataLink]; generation.GenerationName.MatchString(name) &&
			link != nil && string(link.Data) != name {
			w.disk.Root.Plant(generation.DataLink, volume.NewLink(name))
			return
		}
	}
}

// removeForeign acts as an operator who reads the reason why the program rejects the
// volume, and removes the foreign entries. They may include a directory of the program
// whose link was harmed. mu is held.
func (w *world) removeForeign() {
	root := w.disk.Root
	for _, name := range slices.Sorted(maps.Keys(root.Entries)) {
		if w.reader.NotOurs(name) && !strings.HasPrefix(name, "..") {
			w.tracef("somebody removes %s", name)
			root.Steal(name)
		}
	}
}
