package reader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// Right gives what is not as it has to be in the end.
func (r *Reader) Right() error {
	g := r.current()
	if g == nil {
		return errors.New("no generation")
	}
	if err := r.rightSecrets(g); err != nil {
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
	return r.rightTree(g)
}

// rightSecrets: each Secret is at the API's version, and none is there that is gone.
func (r *Reader) rightSecrets(g *shownGeneration) error {
	stamps, objects := r.stamps(), r.API.Now()
	for name, o := range objects {
		if r.Wanted(o) && stamps[name] != o.Stamp {
			return fmt.Errorf("secret %s is at version %d, want %d", name, stamps[name], o.Stamp)
		}
	}
	for name := range stamps {
		if r.Remove && !r.Wanted(objects[name]) {
			return fmt.Errorf("secret %s is gone, and its files are not", name)
		}
	}
	for name := range g.rec.Secrets { // of one that is gone, what was harmed cannot come back
		if _, whole := stamps[name]; !whole && !(r.dirty[name] && !r.Wanted(objects[name])) {
			return fmt.Errorf("secret %s is not whole", name)
		}
	}
	return nil
}

// rightTree: there is all that has to be, and nothing else of the program's.
func (r *Reader) rightTree(g *shownGeneration) error {
	want, got := r.plannedTree(g), r.Disk.Tree()
	for name := range got {
		n, _ := r.Disk.Resolve(name, false)
		if top := generation.Top(name); want[top] == "" && r.NotOurs(top) || want[name] == "" && n.IsForeign() && !generation.IsOwn(top) {
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

// NotOurs reports whether an entry cannot be distinguished from somebody else's.
func (r *Reader) NotOurs(name string) bool {
	n := r.Disk.Root.Entries[name]
	return !generation.IsOwn(name) && (n.Foreign || harmedLink(n))
}

// plannedTree is made from the contract, not from the program's plan.
func (r *Reader) plannedTree(g *shownGeneration) map[string]string {
	root := r.Disk.Root
	dir := string(root.Entries[generation.DataLink].Data)
	const folder, link, file = "drwxr-xr-x ", "Lrwxrwxrwx ", "-rw-r--r-- "
	want := map[string]string{dir: folder, generation.DataLink: link + dir}
	for _, name := range []string{generation.RecordName(dir), generation.NotifiedFile} { // their content is checked elsewhere
		if n := root.Entries[name]; n != nil && !n.Foreign {
			want[name] = file + string(n.Data)
		}
	}
	for name, s := range g.rec.Secrets {
		in, below := g.dir, ""
		if !r.Flat {
			in, below = g.dir.Entries[name], name+"/"
			want[dir+"/"+name], want[name] = folder, folder
			want[below+generation.DataLink] = link + "../..data/" + name
		}
		for f := range s.Files {
			want[below+f] = link + "..data/" + f
			if n := in.Entries[f]; n != nil && !n.Foreign { // what is in it is checked elsewhere
				want[dir+"/"+below+f] = file + string(n.Data)
			}
		}
	}
	return want
}
