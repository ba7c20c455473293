package generation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/notification"
)

const (
	// Format is the format number of all records. A record with another number
	// cannot be read, which costs one additional notification per target.
	Format = 1
	// MaxGeneration is the highest generation number. Every JSON reader can represent it.
	MaxGeneration = 1 << 53
	// MaxFound is the highest number that a start continues with. A higher number
	// was forged, and could leave no number for the next generation.
	MaxFound = MaxGeneration / 2
	// MaxRecord is the size of the largest record. A start reads no larger one.
	MaxRecord   = 4 << 20
	maxNotified = 1 << 20 // of the record of notifications at a start; its targets may need more later
	maxRemoved  = 1024    // removals in a record

	maxVolumeID = 64
)

// A Record is the JSON file beside a generation's directory. It contains the generation's number and, for every path,
// the generation of its last change. It contains no value, and neither the length nor a hash of a value.
type Record struct {
	Format     int                     `json:"format"`
	Generation uint64                  `json:"generation"`
	Complete   bool                    `json:"complete"`
	Layout     Layout                  `json:"layout"`
	FileMode   fs.FileMode             `json:"fileMode"`
	Secrets    map[string]SecretRecord `json:"secrets"`
	// Unowned contains the files of a flat generation whose record was lost: their Secrets are unknown.
	Unowned map[string]PathRecord `json:"unowned,omitempty"`
	// Removed contains the removals of each path as apps see it, oldest first. A
	// path keeps its entries even if it came back later.
	Removed map[string][]PathRecord `json:"removed,omitempty"`
	// Since is the oldest generation after which Secrets and Removed contain every change.
	Since uint64 `json:"since"`
}

// A SecretRecord is the part of a Record about a Secret.
type SecretRecord struct {
	UID             string                `json:"uid,omitempty"`
	ResourceVersion string                `json:"resourceVersion,omitempty"`
	Generation      uint64                `json:"generation"` // of the last change of its files
	Files           map[string]PathRecord `json:"files"`      // by path inside the Secret
}

// A PathRecord contains the generations in which a path was added and last changed.
// For a removed path, Changed is the generation of its removal.
type PathRecord struct {
	Secret  string      `json:"secret,omitempty"` // only of a removed path; "": unknown
	Added   uint64      `json:"added"`
	Changed uint64      `json:"changed"`
	Mode    fs.FileMode `json:"mode,omitempty"` // 0 for the record's FileMode
}

func encode(record any) []byte {
	data, err := json.Marshal(record)
	if err != nil {
		panic(err) // impossible: records consist of strings and numbers
	}
	return data
}

// ParseNumber returns the number of a Record from its first fields. Its cost does not depend on the record's size.
func ParseNumber(data []byte) (number uint64, err error) {
	var format int
	start := string(data[:min(len(data), 64)])
	_, err = fmt.Sscanf(start, `{"format":%d,"generation":%d,`, &format, &number)
	if err != nil || format != Format || number == 0 || number > MaxFound {
		return 0, fmt.Errorf("parse the record: it begins with %.64q", start)
	}
	return number, nil
}

// A Found is a generation of whose record only the number was parsed: another process may have planted large records.
type Found struct {
	Dir    string
	Number uint64 // 0 if the record is missing, because the generation was not published, or unreadable
}

// ParseRecord parses the JSON of a Record.
func ParseRecord(data []byte) (Record, error) {
	r := Record{Layout: Nested}
	err := json.Unmarshal(data, &r)
	switch {
	case err != nil:
	case r.Format != Format || r.Generation == 0 || r.Generation > MaxGeneration:
		err = fmt.Errorf("unsupported format %d or generation %d", r.Format, r.Generation)
	case !validMode(r.FileMode):
		err = fmt.Errorf("invalid file mode %o", uint32(r.FileMode))
	default:
		err = r.Validate()
	}
	if err == nil && len(encode(r)) > MaxRecord { // its JSON omits fields or escapes fewer characters
		err = errors.New("the record is too large to write again")
	}
	if err != nil {
		return Record{}, fmt.Errorf("parse the record: %w", err)
	}
	return r, nil
}

// Paths returns every path as apps see it. Each record contains the Secret's name.
func (r *Record) Paths() map[string]PathRecord {
	out := map[string]PathRecord{}
	for name, s := range r.Secrets {
		for file, rec := range s.Files {
			rec.Secret = name
			out[r.Layout.Path(name, file)] = rec
		}
	}
	maps.Copy(out, r.Unowned)
	return out
}

// Rebuild returns a record of the files in a generation's directory whose record was lost. It has the number, the
// layout and the mode of rec. modeOf returns the mode of a file. If the record becomes too large, another process
// planted files: Rebuild omits files of the largest Secrets, and leaves half a record free for later generations.
func Rebuild(rec Record, files []string, modeOf func(file string) fs.FileMode) Record {
	number := rec.Generation
	rec.Format, rec.Since = Format, number
	rec.Secrets, rec.Unowned = map[string]SecretRecord{}, map[string]PathRecord{}
	for _, file := range files {
		name, below, _ := strings.Cut(file, "/")
		found := PathRecord{Added: number, Changed: number}
		if mode := modeOf(file); mode != rec.FileMode && validMode(mode) {
			found.Mode = mode
		}
		switch {
		case rec.Layout == Flat && ValidPath(file):
			rec.Unowned[file] = found
		case rec.Layout == Nested && validName(name) && ValidPath(below):
			if rec.Secrets[name].Files == nil {
				rec.Secrets[name] = SecretRecord{Generation: number, Files: map[string]PathRecord{}}
			}
			rec.Secrets[name].Files[below] = found
		}
	}
	for limit := MaxRecord; len(encode(rec)) > limit; limit = MaxRecord / 2 {
		rec.halve()
	}
	return rec
}

// halve limits the files of each Secret, or without a Secret, to half of the largest number. If each Secret contains a
// single file, halve removes half of the Secrets.
func (r *Record) halve() {
	most, half := len(r.Unowned), len(r.Secrets)/2
	for _, s := range r.Secrets {
		most = max(most, len(s.Files))
	}
	maps.DeleteFunc(r.Unowned, func(string, PathRecord) bool { return len(r.Unowned) > most/2 })
	for _, s := range r.Secrets {
		maps.DeleteFunc(s.Files, func(string, PathRecord) bool { return len(s.Files) > max(most/2, 1) })
	}
	maps.DeleteFunc(r.Secrets, func(string, SecretRecord) bool { return most == 1 && len(r.Secrets) > half })
}

// matches reports whether s describes this version of a Secret with the same paths and modes.
func (s SecretRecord) matches(files Files) bool {
	if s.UID == "" || s.UID != files.UID || s.ResourceVersion != files.ResourceVersion ||
		len(s.Files) != len(files.Values) {
		return false
	}
	for file := range files.Values {
		if rec, ok := s.Files[file]; !ok || rec.Mode != files.Modes[file] {
			return false
		}
	}
	return true
}

// addRemoved adds the removal of paths by this generation. If the record then contains too many removals or becomes too
// large, addRemoved drops all of them and restarts Since.
func (r *Record) addRemoved(paths map[string]PathRecord) {
	for p, rec := range paths {
		removal := PathRecord{Secret: rec.Secret, Added: rec.Added, Changed: r.Generation}
		r.Removed[p] = append(slices.Clip(r.Removed[p]), removal) // the previous record shares the slice
	}
	if n := r.removals(); n > maxRemoved || n > 0 && len(encode(r)) > MaxRecord {
		r.Removed, r.Since = nil, r.Generation
	}
}

// removals returns the number of removals in the record.
func (r *Record) removals() (count int) {
	for _, removals := range r.Removed {
		count += len(removals)
	}
	return count
}

// Notified contains the record of each target. The first publish writes it, so a
// volume with a generation but without this file has lost it.
type Notified struct {
	Format  int                                  `json:"format"`
	Volume  string                               `json:"volume"` // random ID of the volume
	Targets map[string]notification.TargetRecord `json:"targets"`
	Lost    bool                                 `json:"lost,omitempty"` // earlier records could not be read
}

// Entry returns the record's file.
func (n Notified) Entry(mode fs.FileMode) Entry {
	n.Format = Format
	return Entry{Path: NotifiedFile, Mode: mode, Data: encode(n)}
}

// With returns a copy of n with another record of a target.
func (n Notified) With(target string, record notification.TargetRecord) Notified {
	targets := map[string]notification.TargetRecord{}
	maps.Copy(targets, n.Targets)
	targets[target] = record
	n.Targets = targets
	return n
}

// ParseNotified parses the JSON of a Notified.
func ParseNotified(data []byte) (n Notified, err error) {
	err = json.Unmarshal(data, &n)
	switch {
	case err != nil:
	case n.Format != Format:
		err = fmt.Errorf("unsupported format %d", n.Format)
	case len(n.Volume) > maxVolumeID:
		err = fmt.Errorf("the ID of the volume is longer than %d bytes", maxVolumeID)
	case len(encode(n)) > maxNotified:
		err = fmt.Errorf("the record is larger than %d bytes", maxNotified)
	}
	for _, record := range n.Targets {
		if record.Notified > MaxFound {
			err = fmt.Errorf("invalid generation %d", record.Notified)
		}
	}
	if err != nil {
		return Notified{}, err
	}
	return n, nil
}
