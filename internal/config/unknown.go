package config

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	prefix   = "SECRETSYNC_"
	reserved = prefix + "GENERATION" // exec's child has it
)

// serviceLink matches what the kubelet sets for every Service in the namespace,
// here for one whose name begins as our variables do. (envconfig's
// CheckDisallowed reports it.)
var serviceLink = regexp.MustCompile(
	`^SECRETSYNC_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknown finds the variables that look like ours and are not. It does not
// repeat their values: a misspelled name of the token's variable has a token.
func unknown(known []*variable) (problems []error) {
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		if !strings.HasPrefix(name, prefix) || name == reserved || serviceLink.MatchString(name) ||
			slices.ContainsFunc(known, func(v *variable) bool { return v.name == name }) {
			continue
		}
		hint := "secret-sync help lists them"
		if near := nearest(name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		line := strings.Trim(strconv.Quote(name), `"`)
		problems = append(problems, field.Forbidden(field.NewPath(line), "this is not a variable of secret-sync; "+hint))
	}
	return problems
}

// nearest returns the variable whose name differs from name in the fewest
// letters, and nothing if that is more than a third of them. A word left out at
// an end (WEBHOOK for WEBHOOK_URL) counts as one letter, the case of letters and
// what is before the first underscore not at all: SECRETSYNC_NAMESPACE is
// POD_NAMESPACE.
func nearest(name string, known []*variable) string {
	_, name, _ = strings.Cut(strings.ToUpper(name), "_")
	best, least := "", max(2, len(name)/3)+1
	for _, v := range known {
		_, candidate, _ := strings.Cut(v.name, "_")
		d := distance(name, candidate)
		if strings.HasPrefix(candidate, name+"_") || strings.HasSuffix(candidate, "_"+name) {
			d = min(d, 1)
		}
		if d < least {
			best, least = v.name, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b in bytes.
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
