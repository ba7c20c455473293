// Package plan says what a volume has to contain for a generation of Secrets:
// directories, files and links, with their modes, targets and contents, and the
// JSON record beside them. It promises that no name in it points out of the
// volume. It is pure: it makes no system call, and must not know what is there.
package plan

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// Files is what one Secret has in a generation.
type Files struct {
	UID, ResourceVersion string                  // go into the record, nothing is derived from them
	Content              map[string]secret.Value // by clean relative path; no element begins with ".."
	Modes                map[string]fs.FileMode  // by path, of files that do not have the volume's mode
}

// Set is what a generation contains, by the name of the Secret.
type Set struct {
	Complete bool
	Secrets  map[string]Files
}

// Equal reports whether the Secret of this name has exactly these files in s.
func (s Set) Equal(name string, files Files) bool {
	if len(s.Secrets[name].Content) != len(files.Content) || !maps.Equal(s.Secrets[name].Modes, files.Modes) {
		return false
	}
	for file, value := range files.Content {
		if !s.has(name, file, value) {
			return false
		}
	}
	return true
}

func (s Set) has(name, file string, value secret.Value) bool {
	v, ok := s.Secrets[name].Content[file]
	return ok && v.Equal(value)
}

// Entry is one directory, file or link in the volume.
type Entry struct {
	Path   string       // relative to the volume
	Mode   fs.FileMode  // its type, and permissions unless it is a link
	Target string       // of a link
	Data   secret.Value // of a file
}

// IsLink reports whether it is a symbolic link.
func (e Entry) IsLink() bool { return e.Mode.Type() == fs.ModeSymlink }

// Plan is all that the volume contains for one generation.
type Plan struct {
	Dir    string  // the generation's directory
	Inside []Entry // that directory and what is in it, parents first
	// Outside is how apps get there: the directories of Secrets and the links,
	// parents first, without ..data.
	//
	//	flat:    password     → ..data/password
	//	nested:  db/password  → ..data/password   and   db/..data → ../..data/db
	Outside []Entry
	Record  Entry
}

// New plans a generation in the directory dir. A file that the record names and
// set lacks could not be read at start: its links stay, and nothing is known of
// the file.
func New(dir string, rec Record, set Set) *Plan {
	p := &Plan{Dir: dir, Record: Entry{Path: RecordName(dir), Mode: rec.FileMode, Data: rec.JSON()}}
	b := builder{p, map[string]bool{}, rec.FileMode}
	b.directory(&p.Inside, dir)
	for name, s := range rec.Secrets {
		below := "" // of the generation's directory, and of the volume
		if !rec.Flat {
			below = name + "/"
			b.directory(&p.Outside, name)
			b.link(below+DataLink, path.Join("..", DataLink, name))
		}
		for file, at := range s.Files {
			first, _, _ := strings.Cut(file, "/")
			b.link(below+first, DataLink+"/"+first)
			if value, ok := set.Secrets[name].Content[file]; ok {
				b.file(Entry{Path: dir + "/" + below + file, Mode: at.mode(rec.FileMode), Data: value})
			}
		}
	}
	for _, entries := range [][]Entry{p.Inside, p.Outside} {
		slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	}
	return p
}

// builder adds entries to a plan, each once.
type builder struct {
	plan *Plan
	seen map[string]bool
	mode fs.FileMode // of files that have none of their own
}

func (b *builder) add(to *[]Entry, e Entry) {
	if !b.seen[e.Path] {
		b.seen[e.Path] = true
		*to = append(*to, e)
	}
}

func (b *builder) directory(to *[]Entry, name string) {
	b.add(to, Entry{Path: name, Mode: fs.ModeDir | dirMode(b.mode)})
}

func (b *builder) link(name, target string) {
	b.add(&b.plan.Outside, Entry{Path: name, Mode: fs.ModeSymlink, Target: target})
}

func (b *builder) file(e Entry) {
	b.add(&b.plan.Inside, e)
	for d := path.Dir(e.Path); !b.seen[d]; d = path.Dir(d) {
		b.directory(&b.plan.Inside, d)
	}
}

// dirMode gives a directory x where its files have r, no w but the owner's,
// who always has all: unlinking needs it.
func dirMode(fileMode fs.FileMode) fs.FileMode {
	r := fileMode & 0o444
	return 0o700 | r | r>>2
}

// Link is ..data, which points to the generation that apps read.
func (p *Plan) Link() Entry { return Entry{Path: DataLink, Mode: fs.ModeSymlink, Target: p.Dir} }

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
	case p.Record.Path:
		return p.Record, true
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

// MissingFrom lists the entries of Outside that have to be made while apps
// still read old, nil for none. A link of old in the place of a Secret's directory
// (the other layout's) stays until the swap, since apps follow it.
func (p *Plan) MissingFrom(old *Plan) (missing []Entry) {
	if old == nil {
		return p.Outside
	}
	for _, e := range p.Outside {
		was, there := find(old.Outside, e.Path)
		same := there && was.Target == e.Target
		if top, _ := find(old.Outside, Top(e.Path)); !same && !top.IsLink() {
			missing = append(missing, e)
		}
	}
	return missing
}

// Covers reports whether p needs all the names that old needs outside of its
// directory: nothing has to be removed after the swap.
func (p *Plan) Covers(old *Plan) bool {
	return !slices.ContainsFunc(old.Outside, func(e Entry) bool {
		_, ok := find(p.Outside, e.Path)
		return !ok
	})
}

// Below lists the entries directly in a Secret's directory.
func (p *Plan) Below(dir string) (entries []Entry) {
	for _, e := range p.Outside {
		if path.Dir(e.Path) == dir {
			entries = append(entries, e)
		}
	}
	return entries
}
