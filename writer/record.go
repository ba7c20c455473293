package writer

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// recordFormat is the number of the layout below. A record of another number is
// not understood, which costs one notification too many and nothing else.
const recordFormat = 1

// record is the JSON beside a generation. It says which generation of which
// Secrets the directory holds, and for each path since when: never a value, nor
// the length or a hash of one.
type record struct {
	Format     int                     `json:"format"`
	Generation uint64                  `json:"generation"`
	Complete   bool                    `json:"complete"`
	Flat       bool                    `json:"flat"`
	FileMode   fs.FileMode             `json:"fileMode"`
	Secrets    map[string]secretRecord `json:"secrets"`
	// Removed has the paths that went, by path as an app sees it, also those that
	// came back later: once for each time.
	Removed map[string][]pathRecord `json:"removed,omitempty"`
	// Since is the oldest generation from which Secrets and Removed tell all
	// that changed.
	Since uint64 `json:"since"`
}

type secretRecord struct {
	UID             string                `json:"uid,omitempty"`
	ResourceVersion string                `json:"resourceVersion,omitempty"`
	Files           map[string]pathRecord `json:"files"` // by path inside the Secret
}

// pathRecord has generations: since when the path is there, and since when it
// is as it is (for one that was removed: since when it is gone).
type pathRecord struct {
	Secret  string `json:"secret,omitempty"` // only of a removed path
	Added   uint64 `json:"added"`
	Changed uint64 `json:"changed"`
}

// maxRemoved bounds how many removed paths are remembered, maxGeneration what a
// record that somebody forged can do to the numbers: JSON readers take these.
const (
	maxRemoved    = 1024
	maxGeneration = 1 << 53
)

func parseRecord(data []byte) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("parse the record: %w", err)
	}
	if r.Format != recordFormat || r.Generation == 0 || r.Generation > maxGeneration {
		return record{}, fmt.Errorf("parse the record: format %d, generation %d: not written by this version", r.Format, r.Generation)
	}
	if r.FileMode&^0o777 != 0 || r.FileMode&0o400 == 0 {
		return record{}, fmt.Errorf("parse the record: mode %o is not one of files", uint32(r.FileMode))
	}
	if err := validate(r.Flat, r.asFiles()); err != nil { // a path that leads elsewhere was not written by us
		return record{}, fmt.Errorf("parse the record: %w", err)
	}
	return r, nil
}

// appPath is a path as the app sees it, below the volume.
func (r *record) appPath(secret, file string) string { return inGeneration(r.Flat, secret, file) }

// next gives the record of the generation that follows cur and holds set.
// cur is nil for the first one.
func next(cur *generation, number uint64, set Set, flat bool, mode fs.FileMode) record {
	r := record{
		Format: recordFormat, Generation: number, Complete: set.Complete, Flat: flat, FileMode: mode,
		Secrets: map[string]secretRecord{}, Removed: map[string][]pathRecord{}, Since: number,
	}
	before := map[string]pathRecord{}
	if cur == nil && number == 1 {
		r.Since = 0 // an empty volume: all that there is was added
	}
	if cur != nil {
		r.Complete = r.Complete || cur.record.Complete
		r.Since = cur.record.Since
		maps.Copy(r.Removed, cur.record.Removed)
		before = cur.record.paths()
	}
	for name, files := range set.Secrets {
		r.Secrets[name] = r.secret(cur, name, files, before)
	}
	for p, was := range before {
		gone := pathRecord{Secret: was.Secret, Added: was.Added, Changed: number}
		r.Removed[p] = append(slices.Clip(r.Removed[p]), gone) // cur's stays as it is
	}
	count := 0
	for _, times := range r.Removed {
		count += len(times)
	}
	if count > maxRemoved {
		r.Removed, r.Since = nil, number
	}
	return r
}

// secret gives the record of one Secret, and takes its paths out of before.
func (r *record) secret(cur *generation, name string, files Files, before map[string]pathRecord) secretRecord {
	s := secretRecord{UID: files.UID, ResourceVersion: files.ResourceVersion, Files: map[string]pathRecord{}}
	for file, value := range files.Content {
		p := r.appPath(name, file)
		at := pathRecord{Added: r.Generation, Changed: r.Generation}
		if was, ok := before[p]; ok {
			at.Added = was.Added
			if cur.record.FileMode == r.FileMode && was.Secret == name && cur.holds(name, file, value) {
				at.Changed = was.Changed
			}
		}
		s.Files[file] = at
		delete(before, p)
	}
	return s
}

// paths has every path as an app sees it, with the Secret it is from.
func (r *record) paths() map[string]pathRecord {
	out := map[string]pathRecord{}
	for name, s := range r.Secrets {
		for file, at := range s.Files {
			at.Secret = name
			out[r.appPath(name, file)] = at
		}
	}
	return out
}

// asFiles gives the record's paths as a set without content, for what needs
// names only and must not depend on what could be read.
func (r *record) asFiles() map[string]Files {
	out := make(map[string]Files, len(r.Secrets))
	for name, s := range r.Secrets {
		f := Files{Content: make(map[string]secret.Value, len(s.Files))}
		for file := range s.Files {
			f.Content[file] = nil
		}
		out[name] = f
	}
	return out
}

// Changes tells what differs between two generations, by the names of Secrets
// and the paths below the volume, sorted.
type Changes struct {
	Generation                       uint64
	Secrets, Added, Changed, Removed []string
}

// changesSince tells what changed after generation told. A told from before
// what the record knows, or newer than it (the volume was emptied), gives all
// paths as changed.
func (r *record) changesSince(told uint64) Changes {
	out := Changes{Generation: r.Generation, Secrets: []string{}, Added: []string{}, Changed: []string{}, Removed: []string{}}
	secrets, there := map[string]bool{}, r.paths()
	known := told >= r.Since && told <= r.Generation
	wasThere := func(p string) bool {
		return slices.ContainsFunc(r.Removed[p], func(gone pathRecord) bool { return gone.Added <= told && told < gone.Changed })
	}
	for p, at := range there {
		switch {
		case !known, at.Added <= told && at.Changed > told, at.Added > told && wasThere(p):
			out.Changed = append(out.Changed, p)
		case at.Added > told:
			out.Added = append(out.Added, p)
		default:
			continue
		}
		secrets[at.Secret] = true
	}
	for p, times := range r.Removed {
		if _, back := there[p]; known && !back && wasThere(p) {
			out.Removed = append(out.Removed, p)
			secrets[times[len(times)-1].Secret] = true
		}
	}
	out.Secrets = slices.AppendSeq(out.Secrets, maps.Keys(secrets))
	for _, s := range [][]string{out.Secrets, out.Added, out.Changed, out.Removed} {
		slices.Sort(s)
	}
	return out
}
