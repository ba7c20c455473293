package generation

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

// Names in the volume for this program only. All of them begin with "..", which
// neither the key of a Secret nor the path of an item can.
const (
	DataLink     = "..data"          // points to the current generation's directory
	NotifiedFile = "..notified.json" // the record of notifications
	LockFile     = "..lock"          // locked by the Writer of the volume
	Temporary    = "..data_tmp"      // an entry before its rename
)

// GenerationName matches the name of a generation's directory, as NewName and the kubelet form it.
var GenerationName = regexp.MustCompile(`^\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+$`)

// NewName returns the name of a generation's directory in the kubelet's format: the time in UTC, then digits.
func NewName(now time.Time) string { return now.UTC().Format("..2006_01_02_15_04_05.000000000") }

// RecordName returns the name of the record beside a generation's directory.
func RecordName(dir string) string { return dir + ".json" }

// IsOwn reports whether only this program uses a name directly in the volume.
func IsOwn(name string) bool {
	switch name {
	case DataLink, NotifiedFile, LockFile, Temporary:
		return true
	}
	return GenerationName.MatchString(strings.TrimSuffix(name, ".json"))
}

// OwnTarget returns this program's target for a link of this name.
func OwnTarget(name string) string {
	if secret, base := path.Split(name); base == DataLink && secret != "" {
		return path.Join("..", DataLink, secret)
	}
	return path.Join(DataLink, path.Base(name))
}

// Top returns the first element of a path.
func Top(name string) string {
	top, _, _ := strings.Cut(name, "/")
	return top
}

// A Layout determines the path of a Secret's file below the volume.
type Layout string

// The layouts.
const (
	Nested Layout = "nested" // SECRET/FILE
	Flat   Layout = "flat"   // FILE
)

// Path returns the path of a Secret's file inside its generation's directory.
// Apps see the file under the same path below the volume.
func (l Layout) Path(secret, file string) string {
	if l == Flat {
		return file
	}
	return secret + "/" + file
}

// UnmarshalText sets l to the layout of this name.
func (l *Layout) UnmarshalText(text []byte) error {
	if *l = Layout(text); *l != Nested && *l != Flat {
		return fmt.Errorf("unknown layout %q", text)
	}
	return nil
}
