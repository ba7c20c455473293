package writer

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// scenario is one thing that a writer does, to be cut off at every call.
type scenario struct {
	name string
	flat bool
	mode fs.FileMode // 0: 0644
	// before is published, in order, by an earlier process.
	before []Set
	// wasFlat and wasMode are that process's, if they differ.
	wasFlat bool
	wasMode fs.FileMode
	// litter is done to the volume before it is opened, damage after that.
	litter, damage func(dir string)
	openToo        bool // cut off what Open does, too
	age            time.Duration
	run            func(w *Writer) error
	next           func(w *Writer) error // what the next process does; nil: run
	// steps: what apps see between the first and the last step may be neither
	// the old nor the new files, because someone damaged them one by one.
	steps bool
}

var (
	mixed   = two("db", files("1", "password", "old", "user", "u", "conf/b", "2"), "tls", files("1", "tls.crt", "c1"))
	changes = two("db", files("2", "password", "new", "port", "3306", "conf/c", "3"), "tls", files("1", "tls.crt", "c1"))
	fewer   = one("db", files("1", "password", "old", "user", "u", "conf/b", "2"))
)

func publishing(set Set) func(w *Writer) error {
	return func(w *Writer) error { _, err := w.Publish(set); return err }
}

func healing(w *Writer) error { heal(w); return nil }

func incomplete(s Set) Set { s.Complete = false; return s }

func scenarios() []scenario {
	all := []scenario{
		{name: "first", run: publishing(mixed)},
		{name: "change", before: []Set{mixed}, run: publishing(changes)},
		{name: "change with an old one to remove", before: []Set{fewer, mixed}, age: time.Minute, run: publishing(changes)},
		{name: "mode", before: []Set{mixed}, wasMode: 0o600, run: publishing(mixed)},
		{name: "Secret gone", before: []Set{mixed}, run: publishing(fewer)},
		{name: "Secret new", before: []Set{fewer}, run: publishing(mixed)},
		{name: "complete", before: []Set{incomplete(mixed)}, run: publishing(mixed)},
		{name: "notified", before: []Set{mixed}, run: func(w *Writer) error { return w.SetNotified("webhook", 1) }},
		{name: "repair of content", before: []Set{mixed}, damage: damageContent, run: healing, next: publishing(mixed), steps: true},
		{name: "repair of the rest", before: []Set{mixed}, damage: damageLinks, run: healing, next: publishing(mixed), steps: true},
		{name: "recovery", before: []Set{mixed}, litter: litter, openToo: true, run: publishing(mixed), steps: true},
		{name: "recovery and change", before: []Set{mixed}, litter: litter, openToo: true, run: publishing(changes), steps: true},
	}
	for _, s := range all {
		s.name += ", flat"
		s.flat, s.wasFlat = true, true
		all = append(all, s)
	}
	return append(all,
		scenario{name: "flat to nested", wasFlat: true, before: []Set{mixed}, run: publishing(mixed)},
		scenario{name: "nested to flat", flat: true, before: []Set{mixed}, run: publishing(mixed)},
		scenario{name: "flat to nested, one name", wasFlat: true, before: []Set{one("db", files("1", "db", "x"))}, run: publishing(one("db", files("1", "db", "x"))), steps: true},
		scenario{name: "nested to flat, one name", flat: true, before: []Set{one("db", files("1", "db", "x"))}, run: publishing(one("db", files("1", "db", "x"))), steps: true},
	)
}

func current(dir string) string {
	target, _ := os.Readlink(filepath.Join(dir, generation.DataLink))
	return filepath.Join(dir, target)
}

// must panics: it is for what tests do to a directory of their own.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func damageContent(dir string) {
	gen := current(dir)
	must(filepath.WalkDir(gen, func(p string, d fs.DirEntry, err error) error {
		if d.Name() == "password" {
			return os.WriteFile(p, []byte("evil"), 0o644)
		}
		if d.Name() == "b" {
			return os.Remove(p)
		}
		return err
	}))
	must(os.WriteFile(filepath.Join(gen, "more"), nil, 0o600))
}

func damageLinks(dir string) {
	for _, name := range []string{generation.DataLink, "password", "tls.crt", "db/user", "db/..data"} {
		_ = os.Remove(filepath.Join(dir, name))
	}
	must(os.Symlink("/etc", filepath.Join(dir, generation.DataLink)))
	must(os.RemoveAll(filepath.Join(dir, "tls")))
	must(os.MkdirAll(filepath.Join(dir, "tls.crt", "x"), 0o700)) // foreign where nested, in the way where flat
}

// litter leaves what crashes at several places at once would.
func litter(dir string) {
	gen := "..2031_01_01_00_00_00.000000001"
	must(os.MkdirAll(filepath.Join(dir, gen, "db"), 0o755))
	must(os.WriteFile(filepath.Join(dir, gen, "db", "password"), []byte("half"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "..2030_01_01_00_00_00.000000001.json"), []byte("{"), 0o600))
	must(os.Symlink("nowhere", filepath.Join(dir, "..data_tmp")))
	must(os.MkdirAll(filepath.Join(dir, "..link_tmp", "x"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "..notified.json_tmp"), []byte("x"), 0o600))
	must(os.Symlink("..data/gone", filepath.Join(dir, "gone")))
	must(os.MkdirAll(filepath.Join(dir, "old"), 0o755))
	must(os.Symlink("../..data/old", filepath.Join(dir, "old", "..data")))
	_ = os.Remove(filepath.Join(dir, "password"))
	_ = os.Remove(filepath.Join(dir, "db", "password"))
}

// prepare makes the volume as the scenario finds it.
func (s scenario) prepare(t testing.TB, dir string) {
	t.Helper()
	opts := quiet(testOptions(t, dir))
	opts.Flat = s.wasFlat
	if s.wasMode != 0 {
		opts.FileMode = s.wasMode
	}
	w, err := Open(opts)
	must(err)
	for _, set := range s.before {
		publish(t, w, set)
	}
	shut(t, w)
	if s.litter != nil {
		s.litter(dir)
	}
}

func (s scenario) options(t testing.TB, dir string, now func() time.Time) Options {
	opts := quiet(testOptions(t, dir))
	opts.Flat, opts.now = s.flat, now
	if s.mode != 0 {
		opts.FileMode = s.mode
	}
	return opts
}

// play opens the volume and runs the scenario, with step at the seam.
func (s scenario) play(opts Options, c *clock, step func(int, call, func() error) error) (*Writer, *seam, error) {
	opts, seam := withSeam(opts)
	if s.openToo {
		seam.reset(step)
	}
	w, err := Open(opts)
	if err != nil {
		return nil, seam, err
	}
	c.Add(s.age)
	if s.damage != nil {
		s.damage(opts.Dir)
	}
	if !s.openToo {
		seam.reset(step)
	}
	err = s.run(w)
	return w, seam, err
}
