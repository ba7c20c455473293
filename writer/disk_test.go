package writer

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// A disk models a file system during a power failure. Every recorded call has
// effects on inodes. An effect certainly survives a power failure once its inode was
// synced: a file's data and mode by a sync of the file, a directory's entries and
// mode by a sync of the directory. Before then, it may survive or not, independently
// of the others. A rename is a single effect.
type disk struct {
	root    *inode
	entries map[*inode]map[string]*inode // of each directory, without a power failure
	effects []*effect                    // in the order of the calls
}

// An inode is a file, a directory or a link. Its type and a link's target never
// change.
type inode struct {
	dir    bool
	target string
}

// An effect is a change of an inode by a call.
type effect struct {
	inode    *inode
	entries  map[string]*inode // of a directory: new entries; nil for a removed one
	data     []byte            // appended to a file
	mode     os.FileMode       // 0: unchanged
	call     int               // with the effect
	syncedBy int               // the call after which the effect survives for certain
}

const never = 1 << 30

func newDisk() *disk {
	root := &inode{dir: true}
	return &disk{root: root, entries: map[*inode]map[string]*inode{root: {}}}
}

// find returns the inode of a name, nil if there is none.
func (d *disk) find(name string) *inode {
	n := d.root
	if name == "." {
		return n
	}
	for element := range strings.SplitSeq(name, "/") {
		n = d.entries[n][element]
	}
	return n
}

// add records an effect of a call.
func (d *disk) add(call int, e effect) {
	e.call, e.syncedBy = call, never
	apply(d.entries, &e)
	d.effects = append(d.effects, &e)
}

// apply changes the entries of directories according to an effect.
func apply(entries map[*inode]map[string]*inode, e *effect) {
	if entries[e.inode] == nil {
		entries[e.inode] = map[string]*inode{}
	}
	for name, n := range e.entries {
		if n == nil {
			delete(entries[e.inode], name)
		} else {
			entries[e.inode][name] = n
		}
	}
}

// record records the effects of a call.
func (d *disk) record(number int, c call) {
	parent, base, n := d.find(path.Dir(c.name)), path.Base(c.name), d.find(c.name)
	create := func(n *inode) {
		d.add(number, effect{inode: parent, entries: map[string]*inode{base: n}})
		d.add(number, effect{inode: n, mode: c.mode})
	}
	switch c.op {
	case "Mkdir":
		create(&inode{dir: true})
	case "Create":
		create(&inode{})
	case "Symlink":
		create(&inode{target: c.to})
	case "Remove":
		d.add(number, effect{inode: parent, entries: map[string]*inode{base: nil}})
	case "Rename": // the Writer renames only inside a directory
		d.add(number, effect{inode: parent, entries: map[string]*inode{base: nil, path.Base(c.to): n}})
	case "file.Write":
		d.add(number, effect{inode: n, data: c.data})
	case "Chmod":
		d.add(number, effect{inode: n, mode: c.mode})
	case "SyncDir", "file.Sync":
		for _, e := range d.effects {
			if e.inode == n {
				e.syncedBy = min(e.syncedBy, number)
			}
		}
	case "file.Close":
	default:
		panic("unknown call " + c.op)
	}
}

// uncertain returns the effects that a power failure after a call may undo.
func (d *disk) uncertain(call int) (out []*effect) {
	for _, e := range d.effects {
		if e.call <= call && e.syncedBy > call {
			out = append(out, e)
		}
	}
	return out
}

// An outcome is the fate of an uncertain effect in a power failure.
type outcome int

const (
	lost outcome = iota
	survived
	halfSurvived // half of the data
)

// after returns the state after a call and then a power failure. outcomes are the
// outcomes of the uncertain effects, in order.
func (d *disk) after(call int, outcomes []outcome) state {
	s := state{d.root, map[*inode]map[string]*inode{d.root: {}}, map[*inode][]byte{}, map[*inode]os.FileMode{}}
	for _, e := range d.effects {
		if e.call > call {
			break
		}
		result := survived
		if e.syncedBy > call {
			result, outcomes = outcomes[0], outcomes[1:]
		}
		if result == lost {
			continue
		}
		apply(s.entries, e)
		if e.mode != 0 {
			s.mode[e.inode] = e.mode
		}
		s.data[e.inode] = append(s.data[e.inode], e.data[:len(e.data)/int(result)]...)
	}
	return s
}

// A state is a file system after a power failure.
type state struct {
	root    *inode
	entries map[*inode]map[string]*inode
	data    map[*inode][]byte
	mode    map[*inode]os.FileMode
}

// published returns the files of the generation behind ..data, and the reason
// instead of a file unreadable for apps. It returns nil without ..data.
func (s state) published() map[string]string {
	top := s.entries[s.root]
	data := top[generation.DataLink]
	if data == nil {
		return nil
	}
	gen := top[data.target]
	if gen == nil {
		return map[string]string{"..data": "dangles"}
	}
	out := map[string]string{}
	s.collect(gen, "", out)
	return out
}

// collect adds the files at and below an inode to out.
func (s state) collect(n *inode, name string, out map[string]string) {
	if s.mode[n]&0o444 != 0o444 {
		out[name] = fmt.Sprintf("mode %v", s.mode[n])
		return
	}
	if !n.dir {
		out[name] = string(s.data[n])
	}
	for base, child := range s.entries[n] {
		s.collect(child, path.Join(name, base), out)
	}
}

// write creates the state below a directory of the real file system.
func (s state) write(n *inode, dir string) {
	for name, child := range s.entries[n] {
		p := filepath.Join(dir, name)
		switch {
		case child.dir:
			must(os.Mkdir(p, 0o700))
			s.write(child, p)
			must(os.Chmod(p, s.mode[child]|0o700))
		case child.target != "":
			must(os.Symlink(child.target, p))
		default:
			must(os.WriteFile(p, s.data[child], 0o600))
			must(os.Chmod(p, s.mode[child]|0o600))
		}
	}
}

// TestDisk_unsyncedEffectsMayBeLost checks the model itself: a rename survives only
// with a sync of its directory, data only with a sync of its file.
func TestDisk_unsyncedEffectsMayBeLost(t *testing.T) {
	d := newDisk()
	for i, c := range []call{
		{op: "Create", name: "tmp", mode: 0o644}, {op: "file.Write", name: "tmp", data: []byte("data")},
		{op: "file.Sync", name: "tmp"}, {op: "Rename", name: "tmp", to: "name"}, {op: "SyncDir", name: "."},
	} {
		d.record(i, c)
	}
	for call, want := range map[int]int{1: 3, 2: 1, 3: 2, 4: 0} {
		if got := len(d.uncertain(call)); got != want {
			t.Errorf("after call %d: got %d uncertain effects, want %d", call, got, want)
		}
	}
	s := d.after(3, []outcome{survived, lost})
	if n := s.entries[s.root]["tmp"]; n == nil || string(s.data[n]) != "data" || s.entries[s.root]["name"] != nil {
		t.Error("without the rename: want the data under the old name")
	}
}
