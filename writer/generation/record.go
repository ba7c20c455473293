package generation

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

const (
	// Format is the number of the records' layout. A record of another number is
	// not understood, which costs one notification too many and nothing else.
	Format = 1
	// MaxGeneration bounds what a forged record can do to the numbers: JSON
	// readers take these.
	MaxGeneration = 1 << 53
	maxRemoved    = 1024 // removed paths that are remembered
)

// Record is the JSON beside a generation. It says which generation of which
// Secrets the directory contains, and for each path since when: never a value, nor
// the length or a hash of one.
type Record struct {
	Format     int                     `json:"format"`
	Generation uint64                  `json:"generation"`
	Complete   bool                    `json:"complete"`
	Flat       bool                    `json:"flat"`
	FileMode   fs.FileMode             `json:"fileMode"`
	Secrets    map[string]SecretRecord `json:"secrets"`
	// Removed has the paths that went, by path as an app sees it, also those that
	// came back later: once for each time.
	Removed map[string][]PathRecord `json:"removed,omitempty"`
	// Since is the oldest generation from which Secrets and Removed have all
	// that changed.
	Since uint64 `json:"since"`
}

// SecretRecord is what a Record has of one Secret.
type SecretRecord struct {
	UID             string                `json:"uid,omitempty"`
	ResourceVersion string                `json:"resourceVersion,omitempty"`
	Files           map[string]PathRecord `json:"files"` // by path inside the Secret
}

// PathRecord has generations: since when the path is there, and since when it
// is as it is (for one that was removed: since when it is gone).
type PathRecord struct {
	Secret  string      `json:"secret,omitempty"` // only of a removed path
	Added   uint64      `json:"added"`
	Changed uint64      `json:"changed"`
	Mode    fs.FileMode `json:"mode,omitempty"` // of its own; 0: the record's FileMode
}

// mode is that of the file, when others have the mode common.
func (r PathRecord) mode(common fs.FileMode) fs.FileMode {
	if r.Mode != 0 {
		return r.Mode
	}
	return common
}

// encode gives a record as JSON.
func encode(record any) []byte {
	data, err := json.Marshal(record)
	if err != nil {
		panic(err) // maps of strings and numbers: there is nothing that can fail
	}
	return data
}

// ParseRecord reads what encode made.
func ParseRecord(data []byte) (Record, error) {
	var r Record
	err := json.Unmarshal(data, &r)
	switch {
	case err != nil:
	case r.Format != Format || r.Generation == 0 || r.Generation > MaxGeneration:
		err = fmt.Errorf("format %d, generation %d: not written by this version", r.Format, r.Generation)
	case !validMode(r.FileMode):
		err = fmt.Errorf("mode %o is not one of files", uint32(r.FileMode))
	default:
		err = r.Validate()
	}
	if err != nil {
		return Record{}, fmt.Errorf("parse the record: %w", err)
	}
	return r, nil
}

// Next gives the record of the generation that holds set and follows old, whose
// files are was. Before the first one old is empty.
func Next(old Record, was Set, number uint64, set Set, flat bool, mode fs.FileMode) Record {
	r := Record{
		Format: Format, Generation: number, Complete: set.Complete || old.Complete, Flat: flat, FileMode: mode,
		Secrets: map[string]SecretRecord{}, Removed: map[string][]PathRecord{}, Since: old.Since,
	}
	if old.Generation == 0 && number > 1 { // what there was is not known
		r.Since = number
	}
	maps.Copy(r.Removed, old.Removed)
	before := old.Paths()
	for name, files := range set.Secrets {
		s := SecretRecord{UID: files.UID, ResourceVersion: files.ResourceVersion, Files: map[string]PathRecord{}}
		for file, value := range files.Content {
			at := PathRecord{Added: number, Changed: number, Mode: files.Modes[file]}
			p := Path(flat, name, file)
			if b, ok := before[p]; ok {
				at.Added = b.Added
				if b.Secret == name && b.mode(old.FileMode) == at.mode(mode) && was.has(name, file, value) {
					at.Changed = b.Changed
				}
			}
			s.Files[file] = at
			delete(before, p)
		}
		r.Secrets[name] = s
	}
	r.remove(before)
	return r
}

// Differs reports whether set needs another generation than r, whose files are
// was. As long as no caller has confirmed what was found at start, it is believed:
// the same version of a Secret with other content is no difference. Somebody
// changed a file, and apps are not notified of its repair.
func (r *Record) Differs(was, set Set, flat bool, mode fs.FileMode, believed bool) bool {
	if r.Generation == 0 || r.FileMode != mode || r.Flat != flat || len(r.Secrets) != len(set.Secrets) {
		return true
	}
	for name, files := range set.Secrets {
		if s, ok := r.Secrets[name]; !ok || !(believed && s.isOf(files)) && !was.Equal(name, files) {
			return true
		}
	}
	return false
}

// isOf reports whether s is of this version of the Secret, and of the same paths
// and modes.
func (s SecretRecord) isOf(files Files) bool {
	for file := range files.Content {
		if at, ok := s.Files[file]; !ok || at.Mode != files.Modes[file] {
			return false
		}
	}
	return len(s.Files) == len(files.Content) && s.UID != "" && s.UID == files.UID && s.ResourceVersion == files.ResourceVersion
}

// remove notes that paths went with this generation, and forgets all such when
// there are too many.
func (r *Record) remove(paths map[string]PathRecord) {
	for p, was := range paths {
		gone := PathRecord{Secret: was.Secret, Added: was.Added, Changed: r.Generation}
		r.Removed[p] = append(slices.Clip(r.Removed[p]), gone) // the old record's stays as it is
	}
	count := 0
	for _, times := range r.Removed {
		count += len(times)
	}
	if count > maxRemoved {
		r.Removed, r.Since = nil, r.Generation
	}
}

// Paths has every path as an app sees it, with the Secret it is from.
func (r *Record) Paths() map[string]PathRecord {
	out := map[string]PathRecord{}
	for name, s := range r.Secrets {
		for file, at := range s.Files {
			at.Secret = name
			out[Path(r.Flat, name, file)] = at
		}
	}
	return out
}
