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

// marks are values that are looked for everywhere. They are random, so that no eight
// bytes of one are anywhere by chance.
type marks struct {
	values  []string
	needles map[string]string // what may be nowhere → what it is
}

// piece is how many bytes of a value, or of another form of it, are too many.
const piece = 8

// next makes a new value.
func (m *marks) next() string {
	value := rand.Text() + rand.Text()
	m.values = append(m.values, value)
	if m.needles == nil {
		m.needles = map[string]string{}
	}
	m.pieces("the value", value, piece)
	for shift := range 3 { // base64 of it inside of something longer
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

// pieces adds each part of a text that is so long; 0: the whole.
func (m *marks) pieces(what, text string, long int) {
	if long == 0 {
		long = len(text)
	}
	for i := range len(text) - long + 1 {
		m.needles[text[i:i+long]] = what
	}
}

// lengths are those of the needles.
func (m *marks) lengths() map[int]bool {
	all := map[int]bool{}
	for needle := range m.needles {
		all[len(needle)] = true
	}
	return all
}

// in tells what is shown in a text, "" for nothing.
func (m *marks) in(text string) (found string) {
	for long := range m.lengths() {
		for i := range len(text) - long + 1 {
			if what, ok := m.needles[text[i:i+long]]; ok {
				return fmt.Sprintf("%s, as %q", what, text[max(0, i-60):min(len(text), i+long+20)])
			}
		}
	}
	return ""
}

// TestMarksAreFound keeps the search able to fail.
func TestMarksAreFound(t *testing.T) {
	var m marks
	value := m.next()
	sum := sha256.Sum256([]byte(value))
	for _, text := range []string{
		"level=DEBUG value=" + value, value[3:11], `{"password":"` + base64.StdEncoding.EncodeToString([]byte(value)) + `"}`,
		base64.StdEncoding.EncodeToString([]byte(`{"password":"` + value + `"}`)), hex.EncodeToString([]byte(value)),
		fmt.Sprint([]byte(value)), hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:]), fmt.Sprintf("%.6x", sum),
	} {
		if m.in(text) == "" {
			t.Errorf("not found in %q", text)
		}
	}
	if found := m.in(rand.Text() + value[:7] + rand.Text()); found != "" {
		t.Errorf("found %s", found)
	}
}
