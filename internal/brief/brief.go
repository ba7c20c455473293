// Package brief bounds the lists in log lines, errors and Events.
package brief

import "fmt"

// entries is the number of entries named in a list.
const entries = 10

// List returns list if it contains at most ten entries. Otherwise it returns the first ten
// entries and an entry with the number of the others.
func List(list []string) []string {
	if len(list) <= entries {
		return list
	}
	return append(list[:entries:entries], fmt.Sprintf("and %d more", len(list)-entries))
}
