package simulation

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/secret-sync/secret-sync/writer/plan"
)

// reader looks at the volume after every call that changes it, and after harm. It
// remembers what it saw.
type reader struct {
	published bool
	// adopted: a program found a first generation that was never published, and
	// publishes it as far as it can: apps have read nothing yet.
	adopted bool
	number  uint64         // of the newest generation
	seen    map[string]int // Secret → the newest stamp
	// dirty has the Secrets whose files were harmed while no program ran: the
	// next one believes what it finds, until the API has answered.
	dirty map[string]bool
	reset bool // the volume may begin with the first generation again

	unread *inode // the record that a program could not read, and makes anew
	parsed *inode // the record that rec is of
	rec    plan.Record
	dir    *inode // and the directory
}

func newReader() reader { return reader{seen: map[string]int{}, dirty: map[string]bool{}} }

// generation is what ..data leads to.
type generation struct {
	name string
	dir  *inode
	rec  plan.Record // as it was before harm was done to it
	lost bool        // there was, or it could not be read
}

// whole reports whether a generation has all files of a Secret, if it has any.
func (w *world) whole(g *generation, name string) bool {
	s, ok := g.rec.Secrets[name]
	if !ok {
		return true
	}
	_, state := w.read(g, name, slices.Sorted(maps.Keys(s.Files)))
	return state == ""
}

// anonymous is in the record of a flat generation whose record was lost: of which
// Secrets its files are cannot be seen.
const anonymous = `"secrets":{"":`

// current is the generation that apps read; nil where there is none, or where harm
// was done to the way there. mu is held.
func (w *world) current() *generation {
	root, r := w.disk.root, &w.reader
	link := root.entries[plan.DataLink]
	if link == nil || link.foreign {
		if link == nil && r.published && !root.touched[plan.DataLink] {
			w.failf("..data is gone")
		}
		return nil
	}
	name := string(link.data)
	dir, file := root.entries[name], root.entries[plan.RecordName(name)]
	switch {
	case dir == nil || !dir.mode.IsDir():
		if !root.touched[name] {
			w.failf("..data leads nowhere: %s", w.plain(name))
		}
		return nil
	case file == nil || file.foreign || strings.Contains(string(file.data), anonymous):
		if file == nil && !root.touched[plan.RecordName(name)] {
			w.failf("the record of %s is gone", w.plain(name))
		}
		if r.dir == dir { // it was read before the harm
			return &generation{name, dir, r.rec, true}
		}
		return nil
	}
	if r.parsed != file {
		rec, err := plan.ParseRecord(file.data)
		if err != nil {
			w.failf("the record of %s: %v", w.plain(name), err)
			return nil
		}
		r.parsed, r.rec, r.dir = file, rec, dir
	}
	return &generation{name, dir, r.rec, r.unread == file}
}

// look checks all that has to hold at every moment. mu is held.
func (w *world) look() {
	g := w.current()
	if g == nil {
		return
	}
	r := &w.reader
	if g.rec.Generation < r.number && !g.lost {
		w.failf("generation %d after generation %d", g.rec.Generation, r.number)
	}
	if r.reset && g.rec.Generation == 1 && !g.lost { // that one is told to nobody
		for _, t := range w.targets {
			t.view = w.views()
		}
	}
	r.reset = r.reset && g.lost
	r.adopted = r.adopted && g.rec.Generation == 1
	if !g.lost {
		r.number = g.rec.Generation
	}
	for name, s := range g.rec.Secrets {
		w.lookAt(g, name, slices.Sorted(maps.Keys(s.Files)))
	}
	for name, stamp := range r.seen {
		if _, ok := g.rec.Secrets[name]; !ok && !r.dirty[name] && !(w.remove && w.truth.goneSince(name, stamp)) {
			w.failf("the files of Secret %s went, which was not deleted since version %d", name, stamp)
		}
	}
	if !r.published {
		r.published = true
		for _, t := range w.targets { // an app starts after the first generation
			if !w.notifyFirst {
				t.view, t.told = w.views(), g.rec.Generation
			}
		}
	}
}

// lookAt checks one Secret of a generation.
func (w *world) lookAt(g *generation, name string, files []string) {
	r := &w.reader
	stamp, state := w.read(g, name, files)
	switch {
	case state == harmed:
		return
	case state != "":
		if !r.dirty[name] {
			w.failf("Secret %s in generation %d: %s", name, g.rec.Generation, state)
		}
		return
	case stamp < r.seen[name]:
		if !r.dirty[name] {
			w.failf("Secret %s went back from version %d to %d in generation %d", name, r.seen[name], stamp, g.rec.Generation)
		}
		return
	}
	if rv := g.rec.Secrets[name].ResourceVersion; rv != "" && w.stampAt(name, rv) != stamp && !r.dirty[name] {
		w.failf("Secret %s is recorded as version %s and has the data of version %d", name, rv, stamp)
	}
	r.seen[name] = stamp
	if !g.lost {
		delete(r.dirty, name)
	}
	w.lookThroughLinks(g, name, files)
}

// stampAt is since when the data of a Secret is as it is at a version.
func (w *world) stampAt(name, version string) int {
	rv, _ := strconv.Atoi(version)
	o := w.truth.at(rv)[name]
	if o == nil || o.rv != rv {
		return -1
	}
	return o.stamp
}

// harmed is the state of a Secret whose files somebody changed.
const harmed = "somebody changed it"

// read gives the stamp of a Secret's files, if all are of one version, and else what
// is wrong with them.
func (w *world) read(g *generation, name string, files []string) (stamp int, state string) {
	dir := g.dir
	if !w.flat {
		dir = g.dir.entries[name]
		if dir == nil || !dir.mode.IsDir() || dir.foreign {
			return 0, either2(g.dir.touched[name] || dir != nil && dir.foreign, harmed, "its directory is missing")
		}
	}
	for _, file := range files {
		n := dir.entries[file]
		switch {
		case dir.touched[file] || n != nil && n.foreign:
			return 0, harmed
		case n == nil:
			return 0, file + " is missing"
		}
		of, version := parse(string(n.data))
		switch {
		case of != name || version == 0:
			return 0, file + " contains " + string(n.data)
		case stamp != 0 && stamp != version:
			return 0, file + " is of another version than others"
		}
		stamp = version
		if string(n.data) != w.truth.data[name][stamp][file] {
			return 0, file + " contains " + string(n.data)
		}
	}
	if len(files) != len(w.truth.data[name][stamp]) {
		return 0, "it has not all files of version " + strconv.Itoa(stamp)
	}
	return stamp, ""
}

func either2(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// parse takes a value apart.
func parse(value string) (secret string, stamp int) {
	secret, rest, _ := strings.Cut(value, "@")
	version, _, _ := strings.Cut(rest, "/")
	stamp, _ = strconv.Atoi(version)
	return secret, stamp
}

// lookThroughLinks checks that an app that opens DIR/db/password gets that file.
func (w *world) lookThroughLinks(g *generation, name string, files []string) {
	root := w.disk.root
	dir, outside := g.dir, root
	if !w.flat {
		dir, outside = g.dir.entries[name], root.entries[name]
		if root.touched[name] || outside != nil && (outside.foreign || outside.touched[plan.DataLink] || hurt(outside.entries[plan.DataLink])) {
			return
		}
	}
	for _, file := range files {
		if outside != nil && (outside.touched[file] || hurt(outside.entries[file]) || outside.rebuilt && outside.entries[file] == nil) {
			continue // or the directory was put back for the next generation
		}
		if n, err := w.disk.resolve(plan.Path(w.flat, name, file), true); (err != nil || n != dir.entries[file]) && !w.reader.adopted {
			w.failf("an app does not reach %s of Secret %s: %v", file, name, err)
		}
	}
}

func hurt(n *inode) bool { return n != nil && n.foreign }

// stamps is what an app reads: Secret → stamp, of those that are whole.
func (w *world) stamps() map[string]int {
	all := map[string]int{}
	if g := w.current(); g != nil {
		for name, s := range g.rec.Secrets {
			if stamp, state := w.read(g, name, slices.Sorted(maps.Keys(s.Files))); state == "" {
				all[name] = stamp
			}
		}
	}
	return all
}

// views is what an app that is notified knows. Of a Secret that was harmed it knows
// what is recorded: nobody is notified of a repair.
func (w *world) views() map[string]int {
	all := w.stamps()
	if g := w.current(); g != nil {
		for name, s := range g.rec.Secrets {
			if stamp := w.stampAt(name, s.ResourceVersion); all[name] == 0 && stamp > 0 {
				all[name] = stamp
			}
		}
	}
	return all
}
