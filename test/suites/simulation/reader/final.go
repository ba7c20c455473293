package reader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// CheckFinal returns the differences from the required final state.
func (r *Reader) CheckFinal() error {
	g := r.current()
	if g == nil {
		return errors.New("no generation was published")
	}
	if err := r.checkFinalSecrets(g); err != nil {
		return err
	}
	if !g.rec.Complete {
		return errors.New("the generation is not complete")
	}
	for _, a := range r.apps {
		if want := r.views(); !maps.Equal(a.view, want) {
			return fmt.Errorf("target %s knows %v, want %v", a.name, a.view, want)
		}
	}
	return r.checkFinalTree(g)
}

// checkFinalSecrets compares the version of each Secret with the API. No deleted
// Secret may remain.
func (r *Reader) checkFinalSecrets(g *shownGeneration) error {
	stamps, objects := r.stamps(), r.API.Current()
	for name, o := range objects {
		if r.Wanted(o) && stamps[name] != o.Stamp {
			return fmt.Errorf("secret %s is at version %d, want %d", name, stamps[name], o.Stamp)
		}
	}
	for name := range stamps {
		if r.Remove && !r.Wanted(objects[name]) {
			return fmt.Errorf("secret %s is deleted, but its files remain", name)
		}
	}
	for name := range g.rec.Secrets { // the harmed files of a deleted Secret cannot return
		if _, complete := stamps[name]; !complete && !(r.dirty[name] && !r.Wanted(objects[name])) {
			return fmt.Errorf("secret %s is incomplete", name)
		}
	}
	return nil
}

// checkFinalTree compares the program's entries with the required entries.
func (r *Reader) checkFinalTree(g *shownGeneration) error {
	want, got := r.plannedTree(g), r.Disk.Tree()
	for name := range got {
		n, _ := r.Disk.Resolve(name, false)
		if top := generation.Top(name); want[top] == "" && r.NotOurs(top) ||
			want[name] == "" && n.IsForeign() && !generation.IsOwn(top) {
			delete(got, name)
		}
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if want[name] != got[name] {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %q", r.Plain(name), got[name], want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			wrong = append(wrong, r.Plain(name)+" is missing")
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// NotOurs reports whether an entry is indistinguishable from a foreign entry.
func (r *Reader) NotOurs(name string) bool {
	n := r.Disk.Root.Entries[name]
	return !generation.IsOwn(name) && (n.Foreign || harmedLink(n))
}

// plannedTree is derived from the contract, not from the program's plan.
func (r *Reader) plannedTree(g *shownGeneration) map[string]string {
	root := r.Disk.Root
	dir := string(root.Entries[generation.DataLink].Data)
	const folder, link, file = "drwxr-xr-x ", "Lrwxrwxrwx ", "-rw-r--r-- "
	want := map[string]string{dir: folder, generation.DataLink: link + dir}
	// The content of these files is checked elsewhere.
	for _, name := range []string{generation.RecordName(dir), generation.NotifiedFile} {
		if n := root.Entries[name]; n != nil && !n.Foreign {
			want[name] = file + string(n.Data)
		}
	}
	for name, s := range g.rec.Secrets {
		in, below := g.dir, ""
		if r.Layout == generation.Nested {
			in, below = g.dir.Entries[name], name+"/"
			want[dir+"/"+name], want[name] = folder, folder
			want[below+generation.DataLink] = link + "../..data/" + name
		}
		for f := range s.Files {
			want[below+f] = link + "..data/" + f
			if n := in.Entries[f]; n != nil && !n.Foreign { // its content is checked elsewhere
				want[dir+"/"+below+f] = file + string(n.Data)
			}
		}
	}
	return want
}
