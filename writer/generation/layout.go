package generation

import (
	"fmt"
	"path"
)

// A Layout determines the path of a Secret's file below the volume.
type Layout int

// The layouts.
const (
	Nested Layout = iota // SECRET/FILE
	Flat                 // FILE
)

var layoutNames = [...]string{Nested: "nested", Flat: "flat"}

// Path returns the path of a Secret's file inside its generation's directory.
// Apps see the file under the same path below the volume.
func (l Layout) Path(secret, file string) string {
	if l == Flat {
		return file
	}
	return path.Join(secret, file)
}

func (l Layout) String() string { return layoutNames[l] }

// MarshalText returns the layout's name.
func (l Layout) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText sets l to the layout of this name.
func (l *Layout) UnmarshalText(text []byte) error {
	for layout, name := range layoutNames {
		if name == string(text) {
			*l = Layout(layout)
			return nil
		}
	}
	return fmt.Errorf("unknown layout %q", text)
}
