package generation

import (
	"cmp"
	"io/fs"
	"maps"
)

// A Request describes the desired generation of the volume.
type Request struct {
	Content  Content
	Layout   Layout
	FileMode fs.FileMode
	Number   uint64 // of the next generation, if necessary
	// TrustVersions compares Secrets by version before comparing their values. It is set while the current content was
	// only read from the volume: another process may change a file there, but not the Secret.
	TrustVersions bool
}

// Next compares a request with g. If anything differs, it returns the record of the next generation. Otherwise it
// returns g's record with Complete updated, and with the new UIDs and versions if a UID differs, and changed is false.
func (g *Generation) Next(req Request) (rec Record, changed bool) {
	old := g.Record
	rec = Record{
		Format: Format, Generation: req.Number, Complete: req.Content.Complete || old.Complete,
		Layout: req.Layout, FileMode: req.FileMode, Since: old.Since,
		Secrets: map[string]SecretRecord{}, Removed: map[string][]PathRecord{},
	}
	if g.Empty() && req.Number > 1 { // the generations before are unknown
		rec.Since = req.Number
	}
	same := !g.Empty() && old.FileMode == req.FileMode && old.Layout == req.Layout && len(old.Unowned) == 0
	before := old.Paths()
	changed = !same || len(old.Secrets) != len(req.Content.Secrets)
	for name, files := range req.Content.Secrets {
		s, existed := old.Secrets[name]
		if !same || !existed || !(req.TrustVersions && s.matches(files)) && !g.Content.Secrets[name].Equal(files) {
			changed = true
			s.Files, s.Generation = g.nextFiles(before, name, files, req), req.Number
		}
		s.UID, s.ResourceVersion = files.UID, files.ResourceVersion
		rec.Secrets[name] = s
		for file := range s.Files {
			delete(before, req.Layout.Path(name, file))
		}
	}
	if !changed {
		old.Complete = rec.Complete
		if !rec.SameUIDs(old) { // Secrets were created again
			old.Secrets = rec.Secrets
		}
		return old, false
	}
	maps.Copy(rec.Removed, old.Removed)
	rec.addRemoved(before)
	return rec, true
}

// nextFiles returns the records of a Secret's files. A file keeps the generation of its last change if before, which
// maps paths to the records of g, contains it with the same value, mode and Secret.
func (g *Generation) nextFiles(
	before map[string]PathRecord, name string, files Files, req Request,
) map[string]PathRecord {
	records := make(map[string]PathRecord, len(files.Values))
	for file, value := range files.Values {
		rec := PathRecord{Added: req.Number, Changed: req.Number, Mode: files.Modes[file]}
		if was, ok := before[req.Layout.Path(name, file)]; ok {
			rec.Added = was.Added
			old, known := g.Content.Secrets[name].Values[file]
			sameMode := cmp.Or(was.Mode, g.Record.FileMode) == cmp.Or(rec.Mode, req.FileMode)
			if was.Secret == name && sameMode && known && old.Equal(value) {
				rec.Changed = was.Changed
			}
		}
		records[file] = rec
	}
	return records
}

// SameUIDs reports whether the Secrets of r and other have the same UIDs.
func (r *Record) SameUIDs(other Record) bool {
	return maps.EqualFunc(r.Secrets, other.Secrets, func(a, b SecretRecord) bool { return a.UID == b.UID })
}
