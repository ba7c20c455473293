package generation

import (
	"path"
	"regexp"
	"strings"
	"time"
)

// The names in the volume that only this program uses. All begin with "..", as
// neither the key of a Secret nor an item's path can.
const (
	DataLink     = "..data"          // points to the generation that apps read
	NotifiedFile = "..notified.json" // what each target was notified of last
	Temporary    = "..data_tmp"      // what is made here gets its name by a rename
)

// GenerationName is the form of a generation's directory: NewName's, and the
// kubelet's.
var GenerationName = regexp.MustCompile(`^\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+$`)

// NewName gives a generation's directory the form that the kubelet uses: the
// time in UTC, then digits.
func NewName(now time.Time) string { return now.UTC().Format("..2006_01_02_15_04_05.000000000") }

// RecordName is the file beside a generation's directory.
func RecordName(generation string) string { return generation + ".json" }

// IsOwn reports whether a name directly in the volume is one that only this
// program uses, or that an earlier version used for what it made.
func IsOwn(name string) bool {
	name, made := strings.CutSuffix(name, "_tmp")
	return name == DataLink || name == NotifiedFile || GenerationName.MatchString(strings.TrimSuffix(name, ".json")) || made && name == "..link"
}

// Path is where a Secret's file is inside its generation's directory, and where
// an app sees it below the volume.
func Path(flat bool, secret, file string) string {
	if flat {
		return file
	}
	return path.Join(secret, file)
}

// OwnTarget is what a link of this name points to if this program made it,
// whatever Secrets there are.
func OwnTarget(name string) string {
	if secret, base := path.Split(name); base == DataLink && secret != "" {
		return path.Join("..", DataLink, secret)
	}
	return path.Join(DataLink, path.Base(name))
}

// Top is the first element of a path.
func Top(name string) string {
	top, _, _ := strings.Cut(name, "/")
	return top
}
