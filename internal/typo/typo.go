// Package typo finds the intended word for a misspelled word.
package typo

// Nearest returns the candidate that differs from word in the fewest letters, or "" if every
// candidate differs in more than limit letters.
func Nearest(word string, candidates []string, limit int) string {
	best := ""
	for _, candidate := range candidates {
		if d := distance(word, candidate); d <= limit {
			best, limit = candidate, d-1
		}
	}
	return best
}

// distance returns the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
