// Package reader reads the volume like an app and reports violations of the contract. Only
// the tests of the simulation use it.
//
// It detects: an incomplete Secret; an older version after a newer version; files that
// disappear without a reason; a file unreachable through its links; a
// early or repeated notification; and at the end, every difference from the API. It
// takes harm into account, which the volume remembers. It knows nothing about the program:
// the rules for the volume are implemented here a second time, from the contract.
//
// Its methods are called while no call on the volume is made.
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

// Options contains the dependencies of a Reader.
type Options struct {
	Disk *volume.Disk
	API  *apiserver.Store
	// The configuration of the program.
	Layout              generation.Layout
	Remove, NotifyFirst bool
	// Wanted reports whether the volume must contain a Secret.
	Wanted func(*apiserver.Object) bool
	// Plain returns a name in the volume in the form for a trace.
	Plain func(name string) string
	// Failf records a failure.
	Failf func(format string, args ...any)
}

// A Reader remembers everything it has read.
type Reader struct {
	Options
	apps      []*App
	published bool
	// adopted is true if a program found an unpublished first generation. It
	// publishes this generation as far as possible, because no app has read anything yet.
	adopted bool
	number  uint64         // of the newest generation
	seen    map[string]int // Secret → the newest stamp
	// dirty contains the Secrets whose files were harmed while no program ran. The next
	// program trusts these files until the API has answered.
	dirty map[string]bool
	reset bool // the volume may start with generation 1 again

	unread *volume.Inode // the unreadable record; the program writes it again
	parsed *volume.Inode // the file of rec
	rec    generation.Record
	dir    *volume.Inode // the directory of rec
}

// New returns a Reader that has read nothing.
func New(o Options) *Reader {
	return &Reader{Options: o, seen: map[string]int{}, dirty: map[string]bool{}}
}

// Published reports whether a generation was ever published.
func (r *Reader) Published() bool { return r.published }

// A shownGeneration is the generation to which ..data points.
type shownGeneration struct {
	name string
	dir  *volume.Inode
	rec  generation.Record // the state before harm
	lost bool              // the record is missing or could not be read
}

// files returns the names of a Secret's files.
func (g *shownGeneration) files(name string) []string {
	return slices.Sorted(maps.Keys(g.rec.Secrets[name].Files))
}

// unowned is part of the record of a flat generation whose previous record was lost. The
// Secrets of its files are unknown.
const unowned = `"unowned":`

// current returns the generation in use by apps. It returns nil if there is none, or if the
// path to it was harmed.
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
	case file == nil || file.Foreign || strings.Contains(string(file.Data), unowned):
		if file == nil && !root.Touched[generation.RecordName(name)] {
			r.Failf("the record of %s is gone", r.Plain(name))
		}
		if r.dir == dir { // the record was read before the harm
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

// harmed is the state of a Secret whose files were changed by something else.
const harmed = "harmed"

// read returns the stamp of a Secret's files if they all belong to the same version.
// Otherwise state describes the difference.
func (r *Reader) read(g *shownGeneration, name string) (stamp int, state string) {
	dir := g.dir
	if r.Layout == generation.Nested {
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

// parse splits a value into its parts.
func parse(value string) (secret string, stamp int) {
	secret, rest, _ := strings.Cut(value, "@")
	version, _, _ := strings.Cut(rest, "/")
	stamp, _ = strconv.Atoi(version)
	return secret, stamp
}

// stampAt returns the stamp of a Secret's data at a version.
func (r *Reader) stampAt(name, version string) int {
	number, _ := strconv.Atoi(version)
	o := r.API.At(number)[name]
	if o == nil || o.Version != number {
		return -1
	}
	return o.Stamp
}

// stamps returns the stamps visible to an app: Secret → stamp, for complete Secrets.
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

// views returns the knowledge of a notified app. For a harmed Secret it is the recorded
// state, because apps are not notified of repairs.
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
