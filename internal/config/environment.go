package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

const (
	prefix       = "SECRETSYNC_"
	reserved     = prefix + "GENERATION" // exec's child has it: not ours, and no mistake
	podNamespace = "POD_NAMESPACE"
	podName      = "POD_NAME"
	podUID       = "POD_UID"
	dirName      = prefix + "DIR"
	httpAddr     = prefix + "HTTP_ADDR"
)

// environment gives the value of every variable of the table, by name, without
// white space around it. What is set to nothing counts as not set, since
// manifests are full of `value: ""`, and has its default; but an empty HTTP
// address means no server.
func environment() (map[string]string, error) {
	var raw spec
	if err := envconfig.Process("", &raw); err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	values := make(map[string]string)
	fields := reflect.ValueOf(raw)
	for i := range fields.NumField() {
		tag := fields.Type().Field(i).Tag
		variable := tag.Get("envconfig")
		value := strings.TrimSpace(fields.Field(i).String())
		if value == "" && variable != httpAddr {
			value = tag.Get("default")
		}
		values[variable] = value
	}
	return values, nil
}

// serviceLink matches what the kubelet sets for every Service in the namespace,
// here for one whose name begins as our variables do. (envconfig's
// CheckDisallowed takes it for a mistake.)
var serviceLink = regexp.MustCompile(
	`^SECRETSYNC_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknown finds the variables that look like ours and are not. It does not
// repeat what they hold: who misspells the token's variable has a token in it.
func unknown(known []Variable) []Mistake {
	var mistakes []Mistake
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		if !strings.HasPrefix(name, prefix) || name == reserved || serviceLink.MatchString(name) ||
			slices.ContainsFunc(known, func(v Variable) bool { return v.Name == name }) {
			continue
		}
		problem := "is not a variable of secret-sync"
		if near := nearest(name, known); near != "" {
			problem += fmt.Sprintf("; did you mean %s?", near)
		} else {
			problem += "; secret-sync help lists them"
		}
		mistakes = append(mistakes, Mistake{Variable: quoteName(name), Problem: problem})
	}
	// sort.Slice where a struct is sorted, in all of the program: slices.SortFunc
	// is compiled anew for each type, at 20 KB of every Pod's memory.
	sort.Slice(mistakes, func(i, j int) bool { return mistakes[i].Variable < mistakes[j].Variable })
	return mistakes
}

// quoteName leaves a usual name as it is; an environment can hold any other.
func quoteName(name string) string {
	if quoted := quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// nearest gives the variable whose name differs from name in the fewest
// letters, and nothing if that is more than a third of them. A word left out at
// an end (WEBHOOK for WEBHOOK_URL) counts as one letter, the case of letters and
// what is before the first underscore not at all: SECRETSYNC_NAMESPACE is
// POD_NAMESPACE.
func nearest(name string, known []Variable) string {
	_, name, _ = strings.Cut(strings.ToUpper(name), "_")
	best, least := "", max(2, len(name)/3)+1
	for _, v := range known {
		_, candidate, _ := strings.Cut(v.Name, "_")
		d := distance(name, candidate)
		if strings.HasPrefix(candidate, name+"_") || strings.HasSuffix(candidate, "_"+name) {
			d = min(d, 1)
		}
		if d < least {
			best, least = v.Name, d
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
