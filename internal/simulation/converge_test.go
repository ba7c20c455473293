package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/writer/plan"
)

const (
	// patience is within what time all is right after the last fault. A watch that
	// lost an event and goes on ends after ten minutes.
	patience = 15 * time.Minute
	// quiet is how long nothing may happen after that.
	quiet = 2 * time.Hour
	// quietRequests is what three watches may ask for meanwhile: a list and a
	// watch each five minutes at most.
	quietRequests = 3 * 2 * int(quiet/(5*time.Minute))
)

// converge waits until all is right, and checks that nothing happens then.
func (w *world) converge(ctx context.Context) {
	var err error
	for end := time.Now().Add(patience); ; {
		w.locked(func() { err = w.right() })
		if err == nil || time.Now().After(end) {
			break
		}
		if !w.sleep(ctx, time.Second) {
			return
		}
	}
	if err != nil {
		w.locked(func() { w.failf("not right %v after the last fault: %v", patience, err) })
		return
	}
	w.tracef("all is right")
	if !w.sleep(ctx, patience) { // a watch that had a fault ends and begins anew
		return
	}
	var changes, calls, seen int
	w.locked(func() { changes, calls, seen = w.changes, w.calls, w.server.seen })
	if !w.sleep(ctx, quiet) {
		return
	}
	w.locked(func() {
		if w.changes != changes || w.calls != calls || w.server.seen > seen+quietRequests {
			w.failf("nothing happened for %v, and there were %d calls that change the volume, %d notifications, %d requests",
				quiet, w.changes-changes, w.calls-calls, w.server.seen-seen)
		} else if err := w.right(); err != nil {
			w.failf("not right any more: %v", err)
		}
	})
}

// right tells what is not as it has to be in the end. mu is held.
func (w *world) right() error {
	g := w.current()
	if w.life == nil || g == nil {
		return errors.New("no program, or no generation")
	}
	stamps := w.stamps()
	for _, name := range secrets {
		o := w.truth.objects[name]
		if _, there := stamps[name]; wanted(o) && stamps[name] != o.stamp {
			return fmt.Errorf("secret %s is at version %d, want %d", name, stamps[name], o.stamp)
		} else if there && !wanted(o) && w.remove {
			return fmt.Errorf("secret %s is gone, and its files are not", name)
		}
	}
	for name := range g.rec.Secrets { // of one that is gone, what was harmed cannot come back
		if _, whole := stamps[name]; !whole && !(w.reader.dirty[name] && !wanted(w.truth.objects[name])) {
			return fmt.Errorf("secret %s is not whole", name)
		}
	}
	if !g.rec.Complete {
		return errors.New("the generation is not complete")
	}
	for _, t := range w.targets {
		if want := w.views(); !maps.Equal(t.view, want) {
			return fmt.Errorf("target %s knows %v, want %v", t.name, t.view, want)
		}
	}
	return w.rightTree(g)
}

// rightTree: there is all that has to be, and nothing else of the program's.
func (w *world) rightTree(g *generation) error {
	want, got := w.plannedTree(g), w.disk.tree()
	for name := range got {
		n, _ := w.disk.resolve(name, false)
		if top := plan.Top(name); want[top] == "" && w.notOurs(top) || want[name] == "" && hurt(n) && !plan.IsOwn(top) {
			delete(got, name)
		}
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if want[name] != got[name] {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %q", w.plain(name), got[name], want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			wrong = append(wrong, w.plain(name)+" is missing")
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// notOurs reports whether an entry cannot be distinguished from somebody else's.
func (w *world) notOurs(name string) bool {
	n := w.disk.root.entries[name]
	return !plan.IsOwn(name) && (n.foreign || n.touched[plan.DataLink] || hurt(n.entries[plan.DataLink]))
}

// plannedTree is made from the contract, not from the program's plan.
func (w *world) plannedTree(g *generation) map[string]string {
	dir := string(w.disk.root.entries[plan.DataLink].data)
	const folder, link, file = "drwxr-xr-x ", "Lrwxrwxrwx ", "-rw-r--r-- "
	want := map[string]string{dir: folder, plan.DataLink: link + dir}
	for _, name := range []string{plan.RecordName(dir), plan.NotifiedFile} { // their content is checked elsewhere
		if n := w.disk.root.entries[name]; n != nil && !n.foreign {
			want[name] = file + string(n.data)
		}
	}
	for name, s := range g.rec.Secrets {
		in, below := g.dir, ""
		if !w.flat {
			in, below = g.dir.entries[name], name+"/"
			want[dir+"/"+name], want[name] = folder, folder
			want[below+plan.DataLink] = link + "../..data/" + name
		}
		for f := range s.Files {
			want[below+f] = link + "..data/" + f
			if n := in.entries[f]; n != nil && !n.foreign { // what is in it is checked elsewhere
				want[dir+"/"+below+f] = file + string(n.data)
			}
		}
	}
	return want
}
