// Package generation describes generations: their directories, files and links in a volume, and the JSON records beside
// them. No name in a valid generation points out of the volume.
//
// The package is pure. It makes no system call and does not know the state of a volume.
package generation

import (
	"cmp"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// Content is the Secrets of a generation, by name.
type Content struct {
	Complete bool
	Secrets  map[string]Files
	Unowned  Files // see Record; read by the start of a Writer
}

// Files are the files of one Secret.
type Files struct {
	UID, ResourceVersion string                  // for the record, and for TrustVersions
	Values               map[string]secret.Value // by clean relative path; no element begins with ".."
	Modes                map[string]fs.FileMode  // by path; files without an entry use the volume's mode
	Unread               []string                // paths of files that the start of a Writer could not read
}

// Equal reports whether f and other contain the same paths, values and modes.
func (f Files) Equal(other Files) bool {
	return maps.EqualFunc(f.Values, other.Values, secret.Value.Equal) && maps.Equal(f.Modes, other.Modes)
}

// A Generation is an immutable set of files together with the links through which apps read them. The zero value is the
// state of a volume before its first generation.
type Generation struct {
	Record     Record
	Content    Content
	Dir        string  // name of the generation's directory
	Entries    []Entry // Inside and Outside
	Inside     []Entry // Dir and everything in it, parents first
	RecordFile Entry
	// Outside contains the Secrets' directories and the links, parents first, without ..data:
	//
	//	flat:    password     → ..data/password
	//	nested:  db/password  → ..data/password   and   db/..data → ../..data/db
	Outside []Entry
	Partial bool // a file of the record has no value in Content
}

// New returns the generation of a record and its content in the directory dir. The start did not read a file without a
// value in content: the read failed, or the limit of bytes was reached. Its links are part of the generation, the file
// is not.
func New(dir string, rec Record, content Content) *Generation {
	content.Complete = rec.Complete
	g := &Generation{Record: rec, Content: content, Dir: dir}
	g.Inside = append(g.Inside, directory(dir, rec.FileMode))
	for name, s := range rec.Secrets {
		g.addSecret(name, s, content.Secrets[name])
	}
	if len(rec.Unowned) > 0 {
		g.addSecret("", SecretRecord{Files: rec.Unowned}, content.Unowned)
	}
	g.Inside, g.Outside = sorted(g.Inside), sorted(g.Outside)
	g.Entries = slices.Concat(g.Inside, g.Outside)
	g.Inside, g.Outside = g.Entries[:len(g.Inside)], g.Entries[len(g.Inside):]
	g.RecordFile = Entry{Path: RecordName(dir), Mode: rec.FileMode, Data: encode(rec)}
	return g
}

func (g *Generation) addSecret(name string, s SecretRecord, files Files) {
	layout, mode, top := g.Record.Layout, g.Record.FileMode, g.Dir
	if layout != Flat {
		top = g.Dir + "/" + name
		g.Inside = append(g.Inside, directory(top, mode))
		g.Outside = append(g.Outside, directory(name, mode), ownLink(path.Join(name, DataLink)))
	}
	dirs := map[string]bool{}
	for file, rec := range s.Files {
		g.Outside = append(g.Outside, ownLink(layout.Path(name, Top(file))))
		value, ok := files.Values[file]
		if !ok {
			g.Partial = true
			continue
		}
		e := Entry{Path: top + "/" + file, Mode: cmp.Or(rec.Mode, mode), Data: value}
		g.Inside = append(g.Inside, e)
		for d := path.Dir(e.Path); d != top && !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
			g.Inside = append(g.Inside, directory(d, mode))
		}
	}
}

// Paths returns the paths of g's files, directories and record, in an order for the removal of a replaced generation.
// If a crash ends the removal, the next start recognizes the rest by the record, and gives it a new grace period.
func (g *Generation) Paths() []string {
	names, dirs := make([]string, 0, len(g.Inside)+1), Dirs(g.Inside)
	for _, e := range g.Inside {
		if e.Mode.IsRegular() {
			names = append(names, e.Path)
		}
	}
	slices.Reverse(dirs) // children first
	return append(append(names, dirs...), g.RecordFile.Path)
}

// Empty reports whether g is the state before the first generation.
func (g *Generation) Empty() bool { return g.Record.Generation == 0 }

// Link returns the link ..data of a volume in which g is current.
func (g *Generation) Link() Entry {
	return Entry{Path: DataLink, Mode: fs.ModeSymlink, Target: g.Dir}
}

// Find returns the entry of this path from Entries.
func (g *Generation) Find(name string) (Entry, bool) {
	if e, ok := find(g.Outside, name); ok {
		return e, true
	}
	return find(g.Inside, name)
}

// Added returns the entries of Outside missing from old, each after its directory.
// It omits an entry if a link or a directory of old occupies its place. The caller
// replaces such a link or directory after apps have stopped reading old.
func (g *Generation) Added(old *Generation) (added []Entry) {
	for _, e := range g.Outside {
		if _, ok := find(old.Outside, e.Path); ok {
			continue
		}
		switch top, ok := find(old.Outside, Top(e.Path)); {
		case !ok:
			added = append(added, e)
		case top.Mode.IsDir():
			added = append(added, top, e) // another process may have removed the directory
		}
	}
	return added
}

// SameOutside reports whether g and old have the same entries outside of their directories.
func (g *Generation) SameOutside(old *Generation) bool {
	return slices.EqualFunc(g.Outside, old.Outside,
		func(a, b Entry) bool { return a.Path == b.Path && a.Mode == b.Mode })
}

// DiskSize returns the space that the generation's entries and its record occupy.
func (g *Generation) DiskSize() (bytes int64) {
	bytes = DiskSize(int64(len(g.RecordFile.Data)))
	for _, e := range g.Inside {
		bytes += DiskSize(int64(len(e.Data)))
	}
	return bytes
}
