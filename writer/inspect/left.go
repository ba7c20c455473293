package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/mount"
)

// Left is what an earlier process left in a volume.
type Left struct {
	Current  *generation.Plan // the generation that apps see, with its files; an empty one for none
	Astray   bool             // ..data does not point there
	Old      []Old            // generations that apps may have seen before it, oldest first
	Last     uint64           // the highest number that was ever used, as far as the volume shows
	Notified generation.Notified
}

// Old is the directory of a generation that was replaced.
type Old struct {
	Dir  string
	Size int64 // that its files take, in bytes
}

// Leftovers finds what an earlier process left. It warns of what cannot be read. An
// error is one of the volume: what ..data is has to be known, else all that apps read
// could be taken for what can go.
//
// Apps see the generation that ..data points to. Without one (no link, one that points
// nowhere or elsewhere) it is the newest whole generation there is, or else the newest
// one: it has some files, and the API may be away. Others of lower numbers were
// published; the rest never were.
func Leftovers(vol mount.Volume, flat bool, mode fs.FileMode, log *slog.Logger) (Left, error) {
	f := finder{vol: vol, flat: flat, mode: mode, log: log}
	entries, err := vol.ReadDir(".")
	if err != nil {
		return Left{}, err
	}
	f.notified()
	all := f.generations(entries)
	if err := f.current(all); err != nil {
		return Left{}, fmt.Errorf("see which generation is there: %w", err)
	}
	for _, g := range all {
		if n := g.record.Generation; g.dir != f.left.Current.Dir && n != 0 && n <= f.left.Current.Record.Generation {
			f.left.Old = append(f.left.Old, Old{g.dir, f.size(g)})
		}
	}
	return f.left, nil
}

type finder struct {
	vol  mount.Volume
	flat bool
	mode fs.FileMode
	log  *slog.Logger
	left Left
}

// notified reads the record of notifications. Of one that cannot be understood nothing
// is known but that targets may have been in it: for all, what is found is pending.
func (f *finder) notified() {
	n, err := readNotified(f.vol)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("the record of notifications cannot be read: all targets are notified again", "path", generation.NotifiedFile, "err", err)
		n = generation.Notified{Lost: true}
	}
	for _, number := range n.Targets {
		// Its number is never used again, but for 1: in a volume that has no
		// generation, targets count as notified of that one in advance.
		if number > 1 {
			f.used(number)
		}
	}
	f.left.Notified = n
}

func (f *finder) used(number uint64) { f.left.Last = max(f.left.Last, number) }

// found is a generation's directory. The number of one whose record cannot be
// read is 0.
type found struct {
	dir    string
	record generation.Record
}

// generations reads the records of all generations there are, lowest number first.
func (f *finder) generations(entries []fs.DirEntry) (all []found) {
	for _, e := range entries {
		if !generation.GenerationName.MatchString(e.Name()) || !e.IsDir() {
			continue
		}
		rec, err := readRecord(f.vol, e.Name())
		if err != nil {
			f.log.Warn("a generation's record cannot be read", "path", e.Name(), "err", err)
		}
		all = append(all, found{e.Name(), rec})
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.record.Generation, b.record.Generation), cmp.Compare(a.dir, b.dir))
	})
	return all
}

// size is what the files of a generation take on the volume, in bytes.
func (f *finder) size(g found) (bytes int64) {
	for name := range g.record.Paths() {
		info, _ := f.vol.Lstat(path.Join(g.dir, name))
		bytes += generation.Pages(info.Size)
	}
	return bytes
}

// current finds the generation that apps see. They may have seen any, but for those
// above the one that ..data points to.
func (f *finder) current(all []found) error {
	target, err := f.vol.Readlink(generation.DataLink)
	if err != nil && !mount.IsNoLink(err) {
		return err
	}
	at := slices.IndexFunc(all, func(g found) bool { return g.dir == target })
	if at >= 0 && all[at].record.Generation > 0 {
		f.used(all[at].record.Generation)
		f.left.Current, _ = f.load(all[at])
		return nil
	}
	for _, g := range all {
		f.used(g.record.Generation)
	}
	if at >= 0 {
		f.left.Current = f.rebuild(target)
		return nil
	}
	f.left.Current = f.newestWhole(all)
	if f.left.Astray = !f.left.Current.None(); f.left.Astray {
		f.log.Warn("..data points to no generation: the newest whole one is taken",
			"generation", f.left.Current.Record.Generation, "path", target)
	}
	return nil
}

// newestWhole gives the newest generation that has all its files, or else the newest
// one, or an empty one.
func (f *finder) newestWhole(all []found) *generation.Plan {
	newest := &generation.Plan{}
	for _, g := range slices.Backward(all) {
		if g.record.Generation == 0 {
			break
		}
		p, whole := f.load(g)
		if whole {
			return p
		}
		if newest.None() {
			newest = p
		}
	}
	return newest
}

// load reads the files that the record names and reports whether all are there.
// One that is not is missing from the set, so that the next publish differs.
func (f *finder) load(g found) (p *generation.Plan, whole bool) {
	whole = true
	set := generation.Set{Complete: g.record.Complete, Secrets: map[string]generation.Files{}}
	for name, s := range g.record.Secrets {
		files := generation.Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Content: map[string]secret.Value{}, Modes: map[string]fs.FileMode{}}
		for file, at := range s.Files {
			if at.Mode != 0 {
				files.Modes[file] = at.Mode
			}
			p := path.Join(g.dir, generation.Path(g.record.Flat, name, file))
			data, err := f.vol.ReadFile(p)
			if err != nil {
				whole = false
				f.log.Warn("a file of the generation cannot be read", "path", p, "err", err)
				continue
			}
			files.Content[file] = data
		}
		set.Secrets[name] = files
	}
	return generation.New(g.dir, g.record, set), whole
}

// rebuild makes a record for the generation that apps see, from its files. Which
// one it was is not known any more: it counts as one that no target was notified of,
// and as not complete until the API has confirmed it. In the flat layout the files
// do not show which Secrets they are from.
func (f *finder) rebuild(dir string) *generation.Plan {
	set := generation.Set{Secrets: map[string]generation.Files{}}
	for _, p := range f.files(dir) {
		name, file := "", strings.TrimPrefix(p, dir+"/")
		if !f.flat {
			name, file, _ = strings.Cut(file, "/")
		}
		if !generation.ValidPath(file) || !f.flat && !generation.ValidPath(name) {
			continue
		}
		if _, ok := set.Secrets[name]; !ok {
			set.Secrets[name] = generation.Files{Content: map[string]secret.Value{}}
		}
		set.Secrets[name].Content[file] = nil // load reads it
	}
	for _, notified := range f.left.Notified.Targets { // there is a generation: 1 is not in advance
		f.used(notified)
	}
	f.left.Last++
	rec := generation.Next(generation.Record{}, generation.Set{}, f.left.Last, set, f.flat, f.mode)
	rec.Since = f.left.Last
	f.log.Warn("the record of the generation cannot be read: rebuilt, and all targets are notified again", "generation", f.left.Last)
	rebuilt, _ := f.load(found{dir, rec})
	return rebuilt
}

// files lists the regular files below dir.
func (f *finder) files(dir string) (all []string) {
	entries, _ := f.vol.ReadDir(dir)
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if e.IsDir() {
			all = append(all, f.files(p)...)
		} else if e.Type().IsRegular() {
			all = append(all, p)
		}
	}
	return all
}
