package manifest

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestSeparated: consecutive JSON objects become documents and keep the numbers of their lines.
func TestSeparated(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		"a: 1\n---\na: 2\n":      "a: 1\n---\na: 2\n",
		"{a: 1}":                 "{a: 1}",
		"{\"a\": 1}\n---\nb: 1":  "{\"a\": 1}\n---\nb: 1",
		"{\"a\": 1}\n{\"a\": 2}": "{\"a\": 1}\n--- {\"a\": 2}",
		"{}\n\n\n{\"a\": 2}\n":   "{}\n--- \n\n{\"a\": 2}\n",
	} {
		got := string(separated([]byte(text)))
		if got != want || strings.Count(got, "\n") != strings.Count(text, "\n") {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestLine: a field that the object merges is in the line of the other object, and an absent field in the line of the
// closest field around it.
func TestLine(t *testing.T) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(`base: &base
  a: 1
other: &other {c: 3}
spec:
  <<: [*base, *other]
  b: 2
  list:
  - x: 1
alias: *base
`), &document); err != nil {
		t.Fatal(err)
	}
	o := &Object{node: document.Content[0]}
	for _, c := range []struct {
		field Path
		want  int
	}{
		{Path{"spec", "b"}, 6}, {Path{"spec", "a"}, 2}, {Path{"spec", "c"}, 3}, {Path{"spec", "absent"}, 4},
		{Path{"spec", "list", 0, "x"}, 8}, {Path{"spec", "list", 1}, 7}, {Path{"alias", "a"}, 2}, {nil, 1},
	} {
		if got := o.Line(c.field); got != c.want {
			t.Errorf("%s: got line %d, want %d", c.field, got, c.want)
		}
	}
	if got := (&Object{}).Line(Path{"spec"}); got != 0 {
		t.Errorf("got line %d for an object of a cluster, want 0", got)
	}
}
