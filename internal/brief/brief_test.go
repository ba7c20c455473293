package brief

import (
	"slices"
	"strings"
	"testing"
)

// TestList_bounds: ten entries are complete, and an eleventh counts the rest.
func TestList_bounds(t *testing.T) {
	list := strings.Fields("a b c d e f g h i j k l m")
	before := slices.Clone(list)
	for n, want := range map[int]string{0: "", 1: "a", 10: "a b c d e f g h i j", 11: "a b c d e f g h i j and 1 more",
		13: "a b c d e f g h i j and 3 more"} {
		if got := strings.Join(List(list[:n]), " "); got != want {
			t.Errorf("List of %d entries = %q, want %q", n, got, want)
		}
	}
	if !slices.Equal(list, before) {
		t.Errorf("List changed its argument to %q", list)
	}
}
