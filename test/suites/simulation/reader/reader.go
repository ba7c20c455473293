// Package reader looks at the volume as apps do, and says what is wrong with what
// they see. Only the tests of the simulation use it; nothing of it is in the program.
//
// It promises to see each of these: a Secret that is not whole, an older version
// after a newer one, files that go without a reason, an app that does not reach a
// file through its links, a notification before the files are there or twice, and
// in the end anything that differs from what the API has. It allows for harm, which
// the volume remembers. It must not know the program: what has to be in the volume
// is written here a second time, from the contract.
//
// Its methods are called while nobody makes a call on the volume.
package reader

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
	"github.com/secret-sync/secret-sync/test/suites/simulation/volume"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// Options are what a Reader has from outside.
type Options struct {
	Disk *volume.Disk
	API  *apiserver.Store
	// How the program is configured.
	Flat, Remove, NotifyFirst bool
	// Wanted reports whether a Secret has to be in the volume.
	Wanted func(*apiserver.Object) bool
	// Plain gives a name in the volume as a trace has it.
	Plain func(name string) string
	// Failf notes that something is wrong.
	Failf func(format string, args ...any)
}

// Reader remembers what it saw.
type Reader struct {
	Options
	apps      []*App
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

	unread *volume.Inode // the record that a program could not read, and makes anew
	parsed *volume.Inode // the record that rec is of
	rec    generation.Record
	dir    *volume.Inode // and the directory
}

// New makes a reader that has seen nothing.
func New(o Options) *Reader {
	return &Reader{Options: o, seen: map[string]int{}, dirty: map[string]bool{}}
}

// Published reports whether there was ever a generation.
func (r *Reader) Published() bool { return r.published }

// shownGeneration is the generation that ..data points to.
type shownGeneration struct {
	name string
	dir  *volume.Inode
	rec  generation.Record // as it was before harm was done to it
	lost bool              // there was, or it could not be read
}

// files are the names of a Secret's files.
func (g *shownGeneration) files(name string) []string {
	return slices.Sorted(maps.Keys(g.rec.Secrets[name].Files))
}

// anonymous is in the record of a flat generation whose record was lost: of which
// Secrets its files are cannot be seen.
const anonymous = `"secrets":{"":`

// current is the generation that apps read; nil where there is none, or where harm
// was done to the way there.
func (r *Reader) current() *shownGeneration {
	root := r.Disk.Root
	link := root.Entries[generation.DataLink]
	if link == nil || link.Foreign {
		if link == nil && r.published && !root.Touched[generation.DataLink] {
			r.Failf("..data is gone")
		}
		return nil
	}
	name := string(link.Data)
	dir, file := root.Entries[name], root.Entries[generation.RecordName(name)]
	switch {
	case dir == nil || !dir.Mode.IsDir():
		if !root.Touched[name] {
			r.Failf("..data leads nowhere: %s", r.Plain(name))
		}
		return nil
	case file == nil || file.Foreign || strings.Contains(string(file.Data), anonymous):
		if file == nil && !root.Touched[generation.RecordName(name)] {
			r.Failf("the record of %s is gone", r.Plain(name))
		}
		if r.dir == dir { // it was read before the harm
			return &shownGeneration{name, dir, r.rec, true}
		}
		return nil
	}
	if r.parsed != file {
		rec, err := generation.ParseRecord(file.Data)
		if err != nil {
			r.Failf("the record of %s: %v", r.Plain(name), err)
			return nil
		}
		r.parsed, r.rec, r.dir = file, rec, dir
	}
	return &shownGeneration{name, dir, r.rec, r.unread == file}
}

// harmed is the state of a Secret whose files somebody changed.
const harmed = "somebody changed it"

// read gives the stamp of a Secret's files, if all are of one version, and else what
// is wrong with them.
func (r *Reader) read(g *shownGeneration, name string) (stamp int, state string) {
	dir := g.dir
	if !r.Flat {
		dir = g.dir.Entries[name]
		if dir == nil || !dir.Mode.IsDir() || dir.Foreign {
			if g.dir.Touched[name] || dir.IsForeign() {
				return 0, harmed
			}
			return 0, "its directory is missing"
		}
	}
	files := g.files(name)
	for _, file := range files {
		n := dir.Entries[file]
		switch {
		case dir.Touched[file] || n.IsForeign():
			return 0, harmed
		case n == nil:
			return 0, file + " is missing"
		}
		of, version := parse(string(n.Data))
		switch {
		case of != name || version == 0:
			return 0, file + " contains " + string(n.Data)
		case stamp != 0 && stamp != version:
			return 0, file + " is of another version than others"
		}
		stamp = version
		if string(n.Data) != r.API.Data(name, stamp)[file] {
			return 0, file + " contains " + string(n.Data)
		}
	}
	if len(files) != len(r.API.Data(name, stamp)) {
		return 0, "it has not all files of version " + strconv.Itoa(stamp)
	}
	return stamp, ""
}

// parse takes a value apart.
func parse(value string) (secret string, stamp int) {
	secret, rest, _ := strings.Cut(value, "@")
	version, _, _ := strings.Cut(rest, "/")
	stamp, _ = strconv.Atoi(version)
	return secret, stamp
}

// stampAt is since when the data of a Secret is as it is at a version.
func (r *Reader) stampAt(name, version string) int {
	number, _ := strconv.Atoi(version)
	o := r.API.At(number)[name]
	if o == nil || o.Version != number {
		return -1
	}
	return o.Stamp
}

// stamps is what an app reads: Secret → stamp, of those that are whole.
func (r *Reader) stamps() map[string]int {
	all := map[string]int{}
	if g := r.current(); g != nil {
		for name := range g.rec.Secrets {
			if stamp, state := r.read(g, name); state == "" {
				all[name] = stamp
			}
		}
	}
	return all
}

// views is what an app that is notified knows. Of a Secret that was harmed it knows
// what is recorded: nobody is notified of a repair.
func (r *Reader) views() map[string]int {
	all := r.stamps()
	if g := r.current(); g != nil {
		for name, s := range g.rec.Secrets {
			if stamp := r.stampAt(name, s.ResourceVersion); all[name] == 0 && stamp > 0 {
				all[name] = stamp
			}
		}
	}
	return all
}
