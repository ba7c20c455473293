package generation

import (
	"fmt"
	"path"
)

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
	return path.Join(secret, file)
}

// UnmarshalText sets l to the layout of this name.
func (l *Layout) UnmarshalText(text []byte) error {
	if *l = Layout(text); *l != Nested && *l != Flat {
		return fmt.Errorf("unknown layout %q", text)
	}
	return nil
}
