package writer

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// A scenario is an operation of a Writer on a prepared volume. The tests interrupt
// it at every changing call.
type scenario struct {
	name   string
	layout Layout

	// An earlier process published these contents, in order.
	published   []Content
	oldLayout   Layout
	oldFileMode fs.FileMode // 0 for 0644

	leftovers func(dir string) // changes the volume before Open; then the calls of Open are interrupted, too
	damage    func(dir string) // changes the volume after Open
	wait      time.Duration    // between Open and the operation

	operation func(w *Writer) error
	next      func(w *Writer) error // operation of the next process; nil for the same operation

	// mixed allows apps to see a mixture of old and new files in between. Someone
	// damaged the files or links, and the Writer repairs them in several steps.
	mixed bool
}

var (
	mixed   = two("db", files("1", "password", "old", "user", "u", "conf/b", "2"), "tls", files("1", "tls.crt", "c1"))
	changes = two("db", files("2", "password", "new", "port", "3306", "conf/c", "3"), "tls",
		files("1", "tls.crt", "c1"))
	fewer   = one("db", files("1", "password", "old", "user", "u", "conf/b", "2"))
	sameKey = one("db", files("1", "db", "x")) // the path db exists in both layouts
)

func publishing(content Content) func(w *Writer) error {
	return func(w *Writer) error { _, err := w.Publish(context.Background(), content); return err }
}

func reconciling(w *Writer) error { reconcileAll(w); return nil }

func notifying(w *Writer) error { return w.SetTargetRecord("webhook", notifiedRecord(1)) }

func incomplete(c Content) Content { c.Complete = false; return c }

// scenarios returns each scenario in both layouts, and the scenarios that change the
// layout.
func scenarios() (all []scenario) {
	for _, layout := range layouts {
		for _, s := range []scenario{
			{name: "first", operation: publishing(mixed)},
			{name: "change", published: []Content{mixed}, operation: publishing(changes)},
			{name: "change after a grace period", published: []Content{fewer, mixed}, wait: time.Minute,
				operation: publishing(changes)},
			{name: "file mode", published: []Content{mixed}, oldFileMode: 0o600, operation: publishing(mixed)},
			{name: "removed Secret", published: []Content{mixed}, operation: publishing(fewer)},
			{name: "new Secret", published: []Content{fewer}, operation: publishing(mixed)},
			{name: "complete", published: []Content{incomplete(mixed)}, operation: publishing(mixed)},
			{name: "notified", published: []Content{mixed}, operation: notifying},
			{name: "damaged files", published: []Content{mixed}, damage: damageFiles, operation: reconciling,
				next: publishing(mixed), mixed: true},
			{name: "damaged links", published: []Content{mixed}, damage: damageLinks, operation: reconciling,
				next: publishing(mixed), mixed: true},
			{name: "leftovers", published: []Content{mixed}, leftovers: leaveEntries, operation: publishing(mixed),
				mixed: true},
			{name: "leftovers and change", published: []Content{mixed}, leftovers: leaveEntries,
				operation: publishing(changes),
				mixed:     true},
		} {
			s.name += ", " + string(layout)
			s.layout, s.oldLayout = layout, layout
			all = append(all, s)
		}
	}
	const nested, flat = generation.Nested, generation.Flat
	return append(all,
		scenario{name: "flat to nested", oldLayout: flat, layout: nested, published: []Content{mixed},
			operation: publishing(mixed)},
		scenario{name: "nested to flat", oldLayout: nested, layout: flat, published: []Content{mixed},
			operation: publishing(mixed)},
		scenario{name: "flat to nested, one name", oldLayout: flat, layout: nested, published: []Content{sameKey},
			operation: publishing(sameKey), mixed: true},
		scenario{name: "nested to flat, one name", oldLayout: nested, layout: flat, published: []Content{sameKey},
			operation: publishing(sameKey), mixed: true},
	)
}

// current returns the path of the directory behind ..data.
func current(dir string) string {
	target, _ := os.Readlink(filepath.Join(dir, generation.DataLink))
	return filepath.Join(dir, target)
}

// must panics on an error of an operation on the test's own directory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// damageFiles overwrites, removes and adds files of the current generation.
func damageFiles(dir string) {
	gen := current(dir)
	must(filepath.WalkDir(gen, func(p string, d fs.DirEntry, err error) error {
		switch d.Name() {
		case "password":
			return os.WriteFile(p, []byte("evil"), 0o644)
		case "b":
			return os.Remove(p)
		}
		return err
	}))
	must(os.WriteFile(filepath.Join(gen, "more"), nil, 0o600))
}

// damageLinks removes and replaces links and directories outside of the generation.
func damageLinks(dir string) {
	for _, name := range []string{generation.DataLink, "password", "tls.crt", "db/user", "db/..data"} {
		_ = os.Remove(filepath.Join(dir, name)) // each layout uses some of them
	}
	must(os.Symlink("/etc", filepath.Join(dir, generation.DataLink)))
	must(os.RemoveAll(filepath.Join(dir, "tls")))
	must(os.MkdirAll(filepath.Join(dir, "tls.crt", "x"), 0o700)) // foreign if nested, in the way if flat
}

// leaveEntries leaves the entries of crashes at several steps of a publish at once.
func leaveEntries(dir string) {
	unpublished := filepath.Join(dir, "..2031_01_01_00_00_00.000000001") // steps 1 and 2
	must(os.MkdirAll(filepath.Join(unpublished, "db"), 0o755))
	must(os.WriteFile(filepath.Join(unpublished, "db", "password"), []byte("half"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "..2030_01_01_00_00_00.000000001.json"), []byte("{"),
		0o600)) // a removal of steps 4 and 1
	must(os.Symlink("nowhere", filepath.Join(dir, generation.Temporary))) // step 7
	must(os.Symlink("..data/gone", filepath.Join(dir, "gone")))           // step 11
	must(os.MkdirAll(filepath.Join(dir, "old"), 0o755))
	must(os.Symlink("../..data/old", filepath.Join(dir, "old", generation.DataLink)))
	_ = os.Remove(filepath.Join(dir, "password")) // a repair of links
	_ = os.Remove(filepath.Join(dir, "db", "password"))
}

// prepare brings the volume into the state in which the scenario finds it.
func (s scenario) prepare(t testing.TB, dir string) {
	t.Helper()
	opts := quiet(testOptions(t, dir))
	opts.Layout = s.oldLayout
	if s.oldFileMode != 0 {
		opts.FileMode = s.oldFileMode
	}
	w := opened(t, opts)
	for _, content := range s.published {
		publish(t, w, content)
	}
	shut(t, w)
	if s.leftovers != nil {
		s.leftovers(dir)
	}
}

// options returns the setup of the process that performs the operation.
func (s scenario) options(opts setup, c *clock) setup {
	opts.Layout, opts.now = s.layout, c.Now
	return opts
}

// run opens the volume and performs the operation. step decides about each changing
// call. The Writer is nil if Open failed.
func (s scenario) run(opts setup, c *clock, step step) (*Writer, *seam, error) {
	opts, seam := withSeam(opts)
	if s.leftovers != nil {
		seam.reset(step)
	}
	w, err := start(opts)
	if err != nil {
		return nil, seam, err
	}
	c.Add(s.wait)
	if s.damage != nil {
		s.damage(opts.Dir)
	}
	if s.leftovers == nil {
		seam.reset(step)
	}
	return w, seam, s.operation(w)
}
