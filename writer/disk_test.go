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

// node is an inode of the model: what it is never changes, what it holds does.
type node struct {
	dir  bool
	link string
}

// effect is what one call did to one inode. It survives a power cut for sure
// once that inode was synced, and maybe before.
type effect struct {
	on      *node
	entries map[string]*node // of a directory; nil: gone
	data    []byte           // appended to a file
	mode    os.FileMode
	at      int // the call that made it
	durable int // the call that synced it
}

const never = 1 << 30

// disk is a model of a file system under the recorded calls: a sync of a file
// makes its data and mode last, a sync of a directory its entries and mode.
// A rename is one effect; everything else may or may not have happened.
type disk struct {
	root    *node
	now     map[*node]map[string]*node // as without a power cut
	effects []*effect
}

func newDisk() *disk {
	root := &node{dir: true}
	return &disk{root: root, now: map[*node]map[string]*node{root: {}}}
}

func (d *disk) at(name string) *node {
	n := d.root
	if name == "." {
		return n
	}
	for element := range strings.SplitSeq(name, "/") {
		n = d.now[n][element]
	}
	return n
}

func (d *disk) add(e effect, at int) {
	e.at, e.durable = at, never
	for name, n := range e.entries {
		if n == nil {
			delete(d.now[e.on], name)
		} else {
			d.now[e.on][name] = n
		}
	}
	d.effects = append(d.effects, &e)
}

// record is what the call of this number did.
func (d *disk) record(at int, c call) {
	parent, base := d.at(path.Dir(c.name)), path.Base(c.name)
	enter := func(n *node) { d.add(effect{on: parent, entries: map[string]*node{base: n}}, at) }
	switch c.op {
	case "Mkdir":
		n := &node{dir: true}
		d.now[n] = map[string]*node{}
		enter(n)
		d.add(effect{on: n, mode: c.mode &^ 0o077}, at) // as under umask 077
	case "Create":
		enter(&node{})
	case "Symlink":
		enter(&node{link: c.to})
	case "Remove":
		enter(nil)
	case "Rename": // ours are all inside one directory
		d.add(effect{on: parent, entries: map[string]*node{base: nil, path.Base(c.to): d.at(c.name)}}, at)
	case "file.Write":
		d.add(effect{on: d.at(c.name), data: c.data}, at)
	case "Chmod":
		d.add(effect{on: d.at(c.name), mode: c.mode}, at)
	case "SyncDir", "file.Sync":
		for _, e := range d.effects {
			if e.on == d.at(c.name) && e.durable == never {
				e.durable = at
			}
		}
	case "file.Close":
	default:
		panic("a call that the model does not know: " + c.op)
	}
}

// state is what is found after a power cut.
type state struct {
	root    *node
	entries map[*node]map[string]*node
	data    map[*node][]byte
	mode    map[*node]os.FileMode
}

// after gives the state after a cut behind call k, when of the effects that no
// sync covers the ones happened for which choose gives 1, and of data half for 2.
func (d *disk) after(k int, choose func(i int, e *effect) int) state {
	s := state{d.root, map[*node]map[string]*node{d.root: {}}, map[*node][]byte{}, map[*node]os.FileMode{}}
	open := 0
	for _, e := range d.effects {
		if e.at > k {
			break
		}
		happened := 1
		if e.durable > k {
			happened = choose(open, e)
			open++
		}
		if happened == 0 {
			continue
		}
		if s.entries[e.on] == nil {
			s.entries[e.on] = map[string]*node{}
		}
		for name, n := range e.entries {
			if n == nil {
				delete(s.entries[e.on], name)
			} else {
				s.entries[e.on][name] = n
			}
		}
		if e.mode != 0 {
			s.mode[e.on] = e.mode
		}
		s.data[e.on] = append(s.data[e.on], e.data[:len(e.data)/happened]...)
	}
	return s
}

// open lists the effects that a cut behind call k may or may not leave.
func (d *disk) open(k int) (out []*effect) {
	for _, e := range d.effects {
		if e.at <= k && e.durable > k {
			out = append(out, e)
		}
	}
	return out
}

// published has the files of the generation that ..data points to, nil for none,
// and whether all are readable for apps.
func (s state) published() map[string]string {
	top := s.entries[s.root]
	data := top[generation.DataLink]
	if data == nil {
		return nil
	}
	gen := top[data.link]
	if gen == nil {
		return map[string]string{"..data": "dangles"}
	}
	out := map[string]string{}
	s.walk(gen, "", out)
	return out
}

func (s state) walk(n *node, rel string, out map[string]string) {
	if s.mode[n]&0o444 != 0o444 {
		out[rel] = fmt.Sprintf("mode %v", s.mode[n])
		return
	}
	if !n.dir {
		out[rel] = string(s.data[n])
	}
	for name, child := range s.entries[n] {
		s.walk(child, path.Join(rel, name), out)
	}
}

// write makes the state in a directory.
func (s state) write(t *testing.T, n *node, p string) {
	t.Helper()
	for name, child := range s.entries[n] {
		p := filepath.Join(p, name)
		switch {
		case child.dir:
			must(os.Mkdir(p, 0o700))
			s.write(t, child, p)
			must(os.Chmod(p, s.mode[child]|0o700))
		case child.link != "":
			must(os.Symlink(child.link, p))
		default:
			must(os.WriteFile(p, s.data[child], 0o600))
			must(os.Chmod(p, s.mode[child]|0o600))
		}
	}
}
