// Package generation says what a volume has to contain for a generation of Secrets:
// directories, files and links, with their modes, targets and contents, and the
// JSON records beside them. It promises that no name in it points out of the
// volume. It is pure: it makes no system call, and must not know what is there.
package generation

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// Entry is one directory, file or link in the volume.
type Entry struct {
	Path   string       // relative to the volume
	Mode   fs.FileMode  // its type, and permissions unless it is a link
	Target string       // of a link
	Data   secret.Value // of a file
}

// IsLink reports whether it is a symbolic link.
func (e Entry) IsLink() bool { return e.Mode.Type() == fs.ModeSymlink }

// Plan is all that the volume contains for one generation. Of none it is empty.
type Plan struct {
	Record Record
	Set    Set
	Dir    string  // the generation's directory
	Inside []Entry // that directory and what is in it, parents first
	// Outside is how apps get there: the directories of Secrets and the links,
	// parents first, without ..data.
	//
	//	flat:    password     → ..data/password
	//	nested:  db/password  → ..data/password   and   db/..data → ../..data/db
	Outside    []Entry
	RecordFile Entry
}

// New plans a generation in the directory dir. A file that the record names and
// set lacks could not be read at start: its links stay, and nothing is known of
// the file.
func New(dir string, rec Record, set Set) *Plan {
	directory := func(name string) Entry { return Entry{Path: name, Mode: fs.ModeDir | dirMode(rec.FileMode)} }
	inside, outside := []Entry{directory(dir)}, []Entry{}
	for name, s := range rec.Secrets {
		below := "" // of the generation's directory, and of the volume
		if !rec.Flat {
			below = name + "/"
			inside = append(inside, directory(dir+"/"+name)) // also of a Secret whose files are all lost
			outside = append(outside, directory(name), link(below+DataLink, path.Join("..", DataLink, name)))
		}
		for file, at := range s.Files {
			first, _, _ := strings.Cut(file, "/")
			outside = append(outside, link(below+first, DataLink+"/"+first))
			value, ok := set.Secrets[name].Content[file]
			if !ok {
				continue
			}
			e := Entry{Path: dir + "/" + below + file, Mode: at.mode(rec.FileMode), Data: value}
			inside = append(inside, e)
			for d := path.Dir(e.Path); d != dir; d = path.Dir(d) {
				inside = append(inside, directory(d))
			}
		}
	}
	record := Entry{Path: RecordName(dir), Mode: rec.FileMode, Data: encode(rec)}
	return &Plan{Record: rec, Set: set, Dir: dir, Inside: sorted(inside), Outside: sorted(outside), RecordFile: record}
}

// None reports whether it is of no generation.
func (p *Plan) None() bool { return p.Record.Generation == 0 }

func link(name, target string) Entry {
	return Entry{Path: name, Mode: fs.ModeSymlink, Target: target}
}

// sorted has each entry once.
func sorted(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(entries, func(a, b Entry) bool { return a.Path == b.Path })
}

// dirMode gives a directory x where its files have r, no w but the owner's,
// who always has all: unlinking needs it.
func dirMode(fileMode fs.FileMode) fs.FileMode {
	r := fileMode & 0o444
	return 0o700 | r | r>>2
}

// Link is ..data, which points to the generation that apps read.
func (p *Plan) Link() Entry { return link(DataLink, p.Dir) }

// Dirs lists the directories among entries.
func Dirs(entries []Entry) (names []string) {
	for _, e := range entries {
		if e.Mode.IsDir() {
			names = append(names, e.Path)
		}
	}
	return names
}

// Find gives the entry of this name.
func (p *Plan) Find(name string) (Entry, bool) {
	switch name {
	case DataLink:
		return p.Link(), true
	case p.RecordFile.Path:
		return p.RecordFile, true
	}
	if e, ok := find(p.Outside, name); ok {
		return e, true
	}
	return find(p.Inside, name)
}

func find(entries []Entry, name string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(entries, name, func(e Entry, name string) int { return strings.Compare(e.Path, name) })
	if !ok {
		return Entry{}, false
	}
	return entries[i], true
}

// Added lists the entries of Outside that old lacks, each after the directory that
// it is in. An entry of another kind in the place of one of them (the other
// layout's) stays while apps read old.
func (p *Plan) Added(old *Plan) (added []Entry) {
	for _, e := range p.Outside {
		if _, ok := old.Find(e.Path); ok {
			continue
		}
		switch top, ok := old.Find(Top(e.Path)); {
		case !ok:
			added = append(added, e)
		case top.Mode.IsDir(): // someone may have removed it
			added = append(added, top, e)
		}
	}
	return added
}

// SameOutside reports whether nothing outside of the generation's directory
// differs from old.
func (p *Plan) SameOutside(old *Plan) bool {
	return slices.EqualFunc(p.Outside, old.Outside, func(a, b Entry) bool { return a.Path == b.Path && a.Mode == b.Mode })
}

// page is what a file system hands out, in bytes: a small file takes one.
const page = 4096

// Pages is what a file of so many bytes takes on a volume, in bytes.
func Pages(bytes int64) int64 { return (bytes + page - 1) / page * page }

// Size is what the generation's files take, in bytes, and a page at least.
func (p *Plan) Size() (bytes int64) {
	for _, e := range p.Inside {
		bytes += Pages(int64(len(e.Data)))
	}
	return max(bytes, page)
}
