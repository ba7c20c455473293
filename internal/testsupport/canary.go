package testsupport

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// Encodings returns the forms in which a program could print value by accident: the
// value itself, base64, hexadecimal in both cases, and a Go byte slice.
func Encodings(value string) []string {
	encoded := base64.RawStdEncoding.EncodeToString([]byte(value))
	hexadecimal := hex.EncodeToString([]byte(value))
	return []string{
		value,
		// The last characters depend on the bytes after the value.
		encoded[:len(value)/3*4],
		hexadecimal,
		strings.ToUpper(hexadecimal),
		strings.Trim(fmt.Sprint([]byte(value)), "[]"),
	}
}

// WantNoLeak fails the test if text contains any of the values, or an encoding of a value.
// The values must have at least 6 bytes. An encoding of fewer bytes could occur by chance.
func WantNoLeak(t testing.TB, output, text string, values ...string) {
	t.Helper()
	for _, value := range values {
		if len(value) < 6 {
			t.Fatalf("value %q is too short to search for", value)
		}
		for _, form := range Encodings(value) {
			if strings.Contains(text, form) {
				t.Errorf("%s contains a Secret value as %q", output, form)
			}
		}
	}
}
