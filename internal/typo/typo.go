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

// distance returns the number of bytes to insert, to remove or to replace, and of neighbors to swap, to turn a into b.
func distance(a, b string) int {
	var last []int // the row before the last row
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := []int{i + 1}
		for j := range len(b) {
			cost := row[j]
			if a[i] != b[j] {
				cost = 1 + min(row[j], row[j+1], next[j])
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cost = min(cost, 1+last[j-1])
			}
			next = append(next, cost)
		}
		last, row = row, next
	}
	return row[len(b)]
}
