package reader

import (
	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
	"github.com/secret-sync/secret-sync/test/suites/simulation/volume"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// Check checks all invariants. It is called after every change of the volume, and
// after harm.
func (r *Reader) Check() {
	g := r.current()
	if g == nil {
		return
	}
	r.checkNumber(g)
	for name := range g.rec.Secrets {
		r.checkSecret(g, name)
	}
	for name, stamp := range r.seen {
		if _, ok := g.rec.Secrets[name]; !ok && !r.dirty[name] &&
			!(r.Remove && r.API.EverMatched(name, stamp, r.unwanted)) {
			r.Failf("the files of Secret %s went, which was not deleted since version %d", name, stamp)
		}
	}
	if !r.published {
		r.published = true
		for _, a := range r.apps { // an app starts after the first generation
			if !r.NotifyFirst {
				a.view, a.notified = r.views(), g.rec.Generation
			}
		}
	}
}

// unwanted reports whether a Secret was deleted or no longer matches the selector.
func (r *Reader) unwanted(o *apiserver.Object) bool { return !r.Wanted(o) }

// checkNumber checks the number of a generation.
func (r *Reader) checkNumber(g *shownGeneration) {
	if g.rec.Generation < r.number && !g.lost {
		r.Failf("generation %d after generation %d", g.rec.Generation, r.number)
	}
	if r.reset && g.rec.Generation == 1 && !g.lost { // apps are not notified of generation 1
		for _, a := range r.apps {
			a.view = r.views()
		}
	}
	r.reset = r.reset && g.lost
	r.adopted = r.adopted && g.rec.Generation == 1
	if !g.lost {
		r.number = g.rec.Generation
	}
}

// checkSecret checks a Secret of a generation.
func (r *Reader) checkSecret(g *shownGeneration, name string) {
	stamp, state := r.read(g, name)
	switch {
	case state == harmed:
		return
	case state != "":
		if !r.dirty[name] {
			r.Failf("Secret %s in generation %d: %s", name, g.rec.Generation, state)
		}
		return
	case stamp < r.seen[name]:
		if !r.dirty[name] {
			r.Failf("Secret %s went back from version %d to %d in generation %d",
				name, r.seen[name], stamp, g.rec.Generation)
		}
		return
	}
	if version := g.rec.Secrets[name].ResourceVersion; version != "" && r.stampAt(name, version) != stamp &&
		!r.dirty[name] {
		r.Failf("Secret %s is recorded as version %s and has the data of version %d", name, version, stamp)
	}
	r.seen[name] = stamp
	if !g.lost {
		delete(r.dirty, name)
	}
	r.checkLinks(g, name)
}

// checkLinks checks whether DIR/db/password leads an app to the file.
func (r *Reader) checkLinks(g *shownGeneration, name string) {
	root := r.Disk.Root
	dir, outside := g.dir, root
	if r.Layout == generation.Nested {
		dir, outside = g.dir.Entries[name], root.Entries[name]
		if root.Touched[name] || outside.IsForeign() || harmedLink(outside) {
			return
		}
	}
	for _, file := range g.files(name) {
		if outside != nil && (outside.Touched[file] || outside.Entries[file].IsForeign() ||
			outside.Rebuilt && outside.Entries[file] == nil) {
			continue // or the directory was restored for the next generation
		}
		if n, err := r.Disk.Resolve(r.Layout.Path(name, file), true); (err != nil || n != dir.Entries[file]) &&
			!r.adopted {
			r.Failf("an app does not reach %s of Secret %s: %v", file, name, err)
		}
	}
}

// harmedLink reports whether harm was done to the ..data link of a Secret's directory.
func harmedLink(dir *volume.Inode) bool {
	return dir != nil && (dir.Touched[generation.DataLink] || dir.Entries[generation.DataLink].IsForeign())
}

// Begin records the existing harm when a program starts. It reports whether ..data is
// missing.
func (r *Reader) Begin() (lost bool) {
	root := r.Disk.Root
	r.unread = nil
	g := r.current()
	lost = g == nil || g.lost || root.Touched[g.name]
	if lost {
		r.lose()
	}
	for name := range r.seen {
		if lost || !r.complete(g, name) {
			r.dirty[name] = true
		}
	}
	for name := range root.Entries {
		r.adopted = r.adopted || !r.published && generation.GenerationName.MatchString(name)
	}
	if root.Touched[generation.NotifiedFile] { // the program knows of no notification
		for _, a := range r.apps {
			a.view = r.views()
		}
	}
	return g == nil
}

// complete reports whether a generation contains all files of a Secret, or none.
func (r *Reader) complete(g *shownGeneration, name string) bool {
	if _, ok := g.rec.Secrets[name]; !ok {
		return true
	}
	_, state := r.read(g, name)
	return state == ""
}

// Misread records a failed read of the record of a generation. The program
// writes the record again, except in the flat layout.
func (r *Reader) Misread() {
	r.lose()
	r.unread = r.parsed
}

// lose records that a program cannot know the content of the volume. It may continue from
// an older generation or start with generation 1.
func (r *Reader) lose() {
	r.number, r.reset = 0, true
	for name := range r.seen {
		r.dirty[name] = true
	}
}
