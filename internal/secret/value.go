// Package secret has the one type in which the values of Secrets travel from
// the API server to the volume.
package secret

import (
	"bytes"
	"fmt"
	"log/slog"
)

// redacted is all that fmt, encoding/json and log/slog ever print of a Value:
// not its content, not its length.
const redacted = "[redacted]"

// Value is the content of one key of a Secret. Printing, formatting, logging
// and marshalling it give a fixed text; only a conversion to []byte gives the
// content, so that each place that touches it can be found by reading.
type Value []byte

// Equal reports whether both hold the same bytes.
func (v Value) Equal(w Value) bool { return bytes.Equal(v, w) }

// Format prints the redaction for every verb and flag of fmt.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String returns the redaction.
func (Value) String() string { return redacted }

// GoString returns the redaction.
func (Value) GoString() string { return redacted }

// MarshalJSON returns the redaction as a JSON string.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns the redaction.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns the redaction.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }
