package writer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/secret-sync/secret-sync/writer/volume"
)

// call is a changing call through the seam.
type call struct {
	op, name, to string // to: of a rename; the target of a symlink
	mode         fs.FileMode
	data         []byte
}

func (c call) String() string { return fmt.Sprintf("%s %s %s", c.op, c.name, c.to) }

// seam records the calls on a volume, and lets a test decide about their effects. It
// embeds no other implementation: a new method of the interface does not compile
// until it is classified here as changing or not.
type seam struct {
	under volume.Calls
	mu    sync.Mutex
	reads int
	calls []call
	step  step
}

// A step is called in the place of each changing call, with the number of the call
// from 0. It decides whether the call takes effect, and returns its error.
type step func(n int, c call, do func() error) error

// The classification, checked against the interfaces.
var (
	changing = []string{"Mkdir", "Create", "Chmod", "Symlink", "Rename", "Remove", "SyncDir", "file.Write", "file.Sync",
		"file.Close"}
	reading = []string{"Lstat", "Readlink", "ReadDir", "ReadFile", "Free", "Close"}
)

func (s *seam) change(c call, do func() error) error {
	s.mu.Lock()
	n, step := len(s.calls), s.step
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	if step == nil {
		return do()
	}
	return step(n, c, do)
}

func (s *seam) read() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
}

func (s *seam) reset(step step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.reads, s.step = nil, 0, step
}

func (s *seam) recorded() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func (s *seam) Mkdir(name string, mode fs.FileMode) error {
	return s.change(call{op: "Mkdir", name: name, mode: mode}, func() error { return s.under.Mkdir(name, mode) })
}

func (s *seam) Create(name string, mode fs.FileMode) (volume.File, error) {
	var f volume.File
	err := s.change(call{op: "Create", name: name, mode: mode},
		func() (err error) { f, err = s.under.Create(name, mode); return err })
	if err != nil {
		if f != nil { // it failed but did happen: the caller has no handle
			_ = f.Close()
		}
		return nil, err
	}
	return &seamFile{s, name, f}, nil
}

// Chmod and Remove are a call for each name, so that a fault can occur between them.
func (s *seam) Chmod(mode fs.FileMode, names ...string) error {
	return each(names, func(name string) error {
		return s.change(call{op: "Chmod", name: name, mode: mode}, func() error { return s.under.Chmod(mode, name) })
	})
}

func (s *seam) Remove(names ...string) error {
	return each(names, func(name string) error {
		return s.change(call{op: "Remove", name: name}, func() error { return s.under.Remove(name) })
	})
}

func each(names []string, do func(name string) error) (err error) {
	for _, name := range names {
		err = cmp.Or(err, do(name))
	}
	return err
}

func (s *seam) Symlink(target, name string) error {
	return s.change(call{op: "Symlink", name: name, to: target}, func() error { return s.under.Symlink(target, name) })
}

func (s *seam) Rename(from, to string) error {
	return s.change(call{op: "Rename", name: from, to: to}, func() error { return s.under.Rename(from, to) })
}

func (s *seam) SyncDir(name string) error {
	return s.change(call{op: "SyncDir", name: name}, func() error { return s.under.SyncDir(name) })
}

func (s *seam) Lstat(name string) (volume.Info, error) { s.read(); return s.under.Lstat(name) }
func (s *seam) Readlink(name string) (string, error)   { s.read(); return s.under.Readlink(name) }
func (s *seam) ReadDir(name string) iter.Seq2[fs.DirEntry, error] {
	s.read()
	return s.under.ReadDir(name)
}
func (s *seam) ReadFile(name string) ([]byte, error) { s.read(); return s.under.ReadFile(name) }
func (s *seam) Free() (uint64, uint64, error)        { s.read(); return s.under.Free() }
func (s *seam) Close() error                         { return s.under.Close() }

type seamFile struct {
	s     *seam
	name  string
	under volume.File
}

func (f *seamFile) Write(p []byte) (n int, err error) {
	err = f.s.change(call{op: "file.Write", name: f.name, data: slices.Clone(p)},
		func() (err error) { n, err = f.under.Write(p); return err })
	return n, err
}

func (f *seamFile) Sync() error {
	return f.s.change(call{op: "file.Sync", name: f.name}, f.under.Sync)
}

func (f *seamFile) Close() error {
	closed := false
	err := f.s.change(call{op: "file.Close", name: f.name}, func() error { closed = true; return f.under.Close() })
	if !closed {
		_ = f.under.Close() // a failed close closes nevertheless
	}
	return err
}

// withSeam puts a seam before the volume of opts.
func withSeam(opts setup) (setup, *seam) {
	s := &seam{}
	opts.calls = func(under volume.Calls) volume.Calls {
		s.under = under
		return s
	}
	return opts, s
}

func TestSeam_classifiesEveryCall(t *testing.T) {
	var got []string
	for m := range reflect.TypeFor[volume.Calls]().Methods() {
		got = append(got, m.Name)
	}
	for m := range reflect.TypeFor[volume.File]().Methods() {
		got = append(got, "file."+m.Name)
	}
	want := slices.Concat(changing, reading)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("methods of the seam:\n got %v\nwant %v", got, want)
	}
	// The seam must count exactly the changing calls.
	s := &seam{step: func(int, call, func() error) error { return errInjected }}
	_, _ = s.Mkdir("x", 0), s.Chmod(0, "x")
	_, _ = s.Create("x", 0)
	_, _, _, _ = s.Symlink("x", "x"), s.Rename("x", "x"), s.Remove("x"), s.SyncDir("x")
	f := &seamFile{s: s, under: rejectAll{}}
	_, _ = f.Write(nil)
	_, _ = f.Sync(), f.Close()
	var counted []string
	for _, c := range s.recorded() {
		counted = append(counted, c.op)
	}
	slices.Sort(counted)
	want = slices.Sorted(slices.Values(changing))
	if !slices.Equal(counted, want) {
		t.Errorf("counted as changing:\n got %v\nwant %v", counted, want)
	}
}

var errInjected = errors.New("injected")

// rejectAll is a file with which nothing works.
type rejectAll struct{}

func (rejectAll) Write([]byte) (int, error) { return 0, errInjected }
func (rejectAll) Sync() error               { return errInjected }
func (rejectAll) Close() error              { return errInjected }
