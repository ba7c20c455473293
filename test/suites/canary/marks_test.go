package canary

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// marks are the values to search for. They are random, so no eight bytes of a value occur
// elsewhere by chance.
type marks struct {
	values  []string
	needles map[string]string // forbidden text → its description
}

// piece is the number of bytes of a value, or of an encoding of it, that must not occur.
const piece = 8

// newValue returns a new value.
func (m *marks) newValue() string {
	value := rand.Text() + rand.Text()
	m.values = append(m.values, value)
	if m.needles == nil {
		m.needles = map[string]string{}
	}
	m.pieces("the value", value, piece)
	for shift := range 3 { // base64 of a longer text around the value
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
		m.pieces("base64 of the value", text[4:len(text)-4], 12)
	}
	m.pieces("hex of the value", hex.EncodeToString([]byte(value)), 2*piece)
	m.pieces("the value's bytes", strings.Trim(fmt.Sprint([]byte(value)[:piece]), "[]"), 0)
	a, b, c := md5.Sum([]byte(value)), sha1.Sum([]byte(value)), sha256.Sum256([]byte(value))
	for name, sum := range map[string][]byte{"md5": a[:], "sha1": b[:], "sha256": c[:]} {
		m.pieces(name+" of the value in hex", hex.EncodeToString(sum), 12)
		m.pieces(name+" of the value in base64", base64.RawStdEncoding.EncodeToString(sum), 10)
		m.pieces(name+" of the value", string(sum), piece)
	}
	return value
}

// pieces adds each part of a text with this length; 0 adds the whole text.
func (m *marks) pieces(description, text string, long int) {
	if long == 0 {
		long = len(text)
	}
	for i := range len(text) - long + 1 {
		m.needles[text[i:i+long]] = description
	}
}

// lengths returns the lengths of the needles.
func (m *marks) lengths() map[int]bool {
	all := map[int]bool{}
	for needle := range m.needles {
		all[len(needle)] = true
	}
	return all
}

// find describes the first needle in a text. It returns "" if there is none.
func (m *marks) find(text string) (found string) {
	for long := range m.lengths() {
		for i := range len(text) - long + 1 {
			if what, ok := m.needles[text[i:i+long]]; ok {
				return fmt.Sprintf("%s, as %q", what, text[max(0, i-60):min(len(text), i+long+20)])
			}
		}
	}
	return ""
}

// TestMarks_foundInEveryEncoding makes sure the search can fail.
func TestMarks_foundInEveryEncoding(t *testing.T) {
	var m marks
	value := m.newValue()
	sum := sha256.Sum256([]byte(value))
	for _, text := range []string{
		"level=DEBUG value=" + value, value[3:11],
		`{"password":"` + base64.StdEncoding.EncodeToString([]byte(value)) + `"}`,
		base64.StdEncoding.EncodeToString([]byte(`{"password":"` + value + `"}`)), hex.EncodeToString([]byte(value)),
		fmt.Sprint([]byte(value)), hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:]),
		fmt.Sprintf("%.6x", sum),
	} {
		if m.find(text) == "" {
			t.Errorf("not found in %q", text)
		}
	}
	if found := m.find(rand.Text() + " " + value[:7] + " " + rand.Text()); found != "" {
		t.Errorf("found %s", found)
	}
}
