// Package secret contains the type of the values of Secrets, all the way from the API server to the volume.
package secret

import (
	"bytes"
	"fmt"
	"log/slog"
)

// redacted is the output of fmt, encoding/json and log/slog for every Value. It shows neither the content nor its
// length.
const redacted = "[redacted]"

// Value is the content of a key of a Secret. Printing, formatting, logging and marshalling it produce a fixed text.
// Only a conversion to []byte returns the content, so a reader can find each use of the content.
type Value []byte

// Equal reports whether both hold the same bytes.
func (v Value) Equal(w Value) bool { return bytes.Equal(v, w) }

// Format prints the redaction for every verb and flag of fmt.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// The other conversions return the redaction, too.
func (Value) String() string               { return redacted }
func (Value) GoString() string             { return redacted }
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Value) LogValue() slog.Value         { return slog.StringValue(redacted) }
