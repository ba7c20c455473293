package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/secret-sync/secret-sync/internal/typo"
)

const (
	prefix   = "SECRETSYNC_"
	reserved = prefix + "GENERATION" // set for the command of SECRETSYNC_EXEC
)

// serviceLink matches the variables of the kubelet for a Service whose name starts with our
// prefix. If the name ends in PORT, the value must also be a value of the kubelet:
// SECRETSYNC_HTTP_PORT=8080 is a mistake.
var serviceLink = regexp.MustCompile(`^SECRETSYNC_(.+_)?(SERVICE_HOST=|SERVICE_PORT(_.+)?=[0-9]+$|` +
	`PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=)`)

// unknown returns a problem for each unknown variable with our prefix. The problem does not
// contain the value, which may be a token under a misspelled name.
func unknown(known []string) (all []*Problem) {
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		if !strings.HasPrefix(name, prefix) || name == reserved || serviceLink.MatchString(assignment) ||
			slices.Contains(known, name) {
			continue
		}
		hint := "secret-sync help lists the variables"
		if near := nearest(name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		printable := strings.Trim(strconv.Quote(name), `"`)
		all = append(all, &Problem{printable, "unknown variable; " + hint})
	}
	return all
}

// nearest returns the known variable most similar to name, or "" if more than a third of the
// letters differ. A missing word at an end (WEBHOOK for WEBHOOK_URL) is a better match. Case
// and the part before the first underscore do not count: SECRETSYNC_NAMESPACE is
// POD_NAMESPACE.
func nearest(name string, known []string) string {
	_, name, _ = strings.Cut(strings.ToUpper(name), "_")
	suffixes := map[string]string{}
	for _, variable := range known {
		_, suffix, _ := strings.Cut(variable, "_")
		if strings.HasPrefix(suffix, name+"_") || strings.HasSuffix(suffix, "_"+name) {
			return variable
		}
		suffixes[suffix] = variable
	}
	return suffixes[typo.Nearest(name, slices.Sorted(maps.Keys(suffixes)), max(2, len(name)/3))]
}
