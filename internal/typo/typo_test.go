package typo

import "testing"

func TestNearest_limit(t *testing.T) {
	words := []string{"status", "wait", "ready"}
	for _, tt := range []struct {
		word  string
		limit int
		want  string
	}{
		{"statsu", 1, "status"}, {"statsu", 0, ""}, {"stats", 0, ""}, {"wait", 0, "wait"},
		{"", 3, ""}, {"", 4, "wait"}, {"read", 2, "ready"},
	} {
		if got := Nearest(tt.word, words, tt.limit); got != tt.want {
			t.Errorf("Nearest(%q, %d) = %q, want %q", tt.word, tt.limit, got, tt.want)
		}
	}
}

func TestDistance_knownValues(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"ab", "ab", 0},
		{"kitten", "sitting", 3}, {"abc", "ac", 1},
		{"ab", "ba", 1}, {"xaby", "xbay", 1}, {"aab", "aba", 1}, {"abab", "baba", 2}, {"abc", "cab", 2},
		{"ab", "bca", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
