package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/writer/generation"
	writervolume "github.com/secret-sync/secret-sync/writer/volume"
)

// noFaults makes each call.
type noFaults struct{}

func (noFaults) Change(_, _ string, do func() error) error { return do() }
func (noFaults) Read(_, _ string, do func() error) error   { return do() }

// TestVolume_equalsMount makes the same calls on the kernel's file system and on the volume
// in memory, with directories, files, and links to all of them. Both must return the same
// results and end in the same state.
func TestVolume_equalsMount(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for seed := range uint64(300) {
		real, err := writervolume.Open(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		b := &both{
			t:       t,
			rand:    rand.New(rand.NewPCG(seed, 0)),
			volumes: [2]writervolume.Calls{real.Calls, NewDisk().Open(noFaults{})},
		}
		for range 80 {
			b.step()
		}
		b.compare(".")
		if err := real.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, b.calls)
		}
	}
}

// both contains the two volumes.
type both struct {
	t       *testing.T
	rand    *rand.Rand
	volumes [2]writervolume.Calls
	calls   string
}

func (b *both) pick(from ...string) string { return from[b.rand.IntN(len(from))] }

// name returns a path of up to three elements. Most elements exist often.
func (b *both) name() string {
	name := b.pick("a", "b", "c")
	for b.rand.IntN(2) == 0 && len(name) < 5 {
		name += "/" + b.pick("a", "b", "c")
	}
	return name
}

// call makes a call on both volumes and compares the results.
func (b *both) call(what string, do func(v writervolume.Calls) (answer any, err error)) {
	b.t.Helper()
	var answers [2]string
	for i, v := range b.volumes {
		answer, err := do(v)
		answers[i] = kind(err)
		if err == nil {
			answers[i] = fmt.Sprint(answer)
		}
	}
	b.calls += fmt.Sprintf("%s: %s\n", what, answers[0])
	if answers[0] != answers[1] {
		b.t.Errorf("%s: got %s, want %s like the mount", what, answers[1], answers[0])
	}
}

// kind returns the properties of an error, as far as the program distinguishes them.
func kind(err error) string {
	var number syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &number):
		return number.Error()
	}
	return "of another type"
}

func (b *both) step() {
	name, mode := b.name(), fs.FileMode(0o600+b.rand.IntN(0o200))
	switch b.rand.IntN(11) {
	case 0, 1:
		b.call("mkdir "+name, func(v writervolume.Calls) (any, error) { return nil, v.Mkdir(name, mode|0o100) })
	case 2, 3:
		b.call("create "+name, func(v writervolume.Calls) (any, error) { return create(v, name, mode) })
	case 4:
		target := b.pick("a", "b", "../a", "a/b", "..", "/etc", "nowhere")
		b.call("symlink "+name+" -> "+target,
			func(v writervolume.Calls) (any, error) { return nil, v.Symlink(target, name) })
	case 5:
		b.call(
			fmt.Sprintf("chmod %s %v", name, mode),
			func(v writervolume.Calls) (any, error) { return nil, v.Chmod(mode|0o100, name) },
		)
	case 6, 7:
		to := name[:len(name)-1] + b.pick("a", "b", "c")
		b.call("rename "+name+" "+to, func(v writervolume.Calls) (any, error) { return nil, v.Rename(name, to) })
	case 8:
		b.call("remove "+name, func(v writervolume.Calls) (any, error) {
			return nil, v.Remove(name)
		})
	case 9:
		b.call("sync "+name, func(v writervolume.Calls) (any, error) { return nil, v.SyncDir(name) })
	case 10:
		b.read(name)
	}
}

// create writes a file.
func create(v writervolume.Calls, name string, mode fs.FileMode) (answer any, err error) {
	f, err := v.Create(name, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write([]byte("data of " + name))
	err = errors.Join(err, v.Chmod(mode, name), f.Sync())
	info, lookErr := v.Lstat(name)
	return info.Mode, errors.Join(err, lookErr, f.Close())
}

// read makes all read-only calls.
func (b *both) read(name string) {
	b.call("lstat "+name, func(v writervolume.Calls) (any, error) { return lstat(v, name) })
	b.call("readlink "+name, func(v writervolume.Calls) (any, error) { return v.Readlink(name) })
	b.call("readdir "+name, func(v writervolume.Calls) (any, error) { return names(v, name) })
	b.call("read "+name, func(v writervolume.Calls) (any, error) { return v.ReadFile(name) })
}

// lstat omits the inode and the size of a directory, which depend on the file system.
func lstat(v writervolume.Calls, name string) (writervolume.Info, error) {
	info, err := v.Lstat(name)
	info.Inode = 0
	if info.Mode.IsDir() {
		info.Size = 0
	}
	return info, err
}

func names(v writervolume.Calls, dir string) (all []string, err error) {
	for e, err := range v.ReadDir(dir) {
		if err != nil {
			return nil, err
		}
		if e.Name() != generation.LockFile { // a volume in memory needs no lock
			all = append(all, e.Name()+" "+e.Type().String())
		}
	}
	slices.Sort(all)
	return all, nil
}

// compare compares both trees.
func (b *both) compare(dir string) {
	b.read(dir)
	for e, err := range b.volumes[0].ReadDir(dir) {
		if err != nil {
			b.t.Error(err)
			return
		}
		if e.Name() == generation.LockFile {
			continue
		}
		if name := dir + "/" + e.Name(); e.IsDir() {
			b.compare(name)
		} else {
			b.read(name)
		}
	}
}
