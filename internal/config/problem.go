package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/secret-sync/secret-sync/internal/typo"
)

// A Problem is a mistake in a variable. Its text is a single line.
type Problem struct{ Variable, Detail string }

func (p *Problem) Error() string { return p.Variable + ": " + p.Detail }

// problems collects mistakes.
type problems struct{ all []*Problem }

// hidden contains the variables whose values may be or contain secrets.
var hidden = []string{
	"SECRETSYNC_WEBHOOK_URL", "SECRETSYNC_WEBHOOK_CA_FILE", "SECRETSYNC_WEBHOOK_TOKEN_FILE", "SECRETSYNC_EXEC",
}

// scheme is the only part of a URL for an error: user, query and path may each contain a
// password.
var scheme = regexp.MustCompile(`^(https?|unix)://`)

// invalid records the invalid value of a variable, or of an entry of its list.
func (p *problems) invalid(name, value string, err error) {
	if slices.Contains(hidden, name) {
		value = scheme.FindString(value) + "... (not shown)"
	} else if beginning := fmt.Sprintf("%.120s", value); beginning != value {
		value = beginning + "..."
	}
	p.add(name, "Invalid value: %q: %v", value, err)
}

func (p *problems) add(name, format string, args ...any) {
	p.all = append(p.all, &Problem{name, fmt.Sprintf(format, args...)})
}

// check records each of the variables that is set to an invalid value.
func (p *problems) check(allowed string, valid func(string) bool, names ...string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" && !valid(value) {
			p.invalid(name, value, errors.New("must be "+allowed))
		}
	}
}

// in reports whether there is a problem with the variable.
func (p *problems) in(name string) bool {
	return slices.ContainsFunc(p.all, func(p *Problem) bool { return p.Variable == name })
}

// join returns the problems in the order of the variables, then the unknown variables.
func (p *problems) join() error {
	names := variableNames()
	slices.SortStableFunc(p.all, func(a, b *Problem) int {
		return cmp.Compare(slices.Index(names, a.Variable), slices.Index(names, b.Variable))
	})
	p.addUnknown(names)
	var all []error
	for _, problem := range p.all {
		all = append(all, problem)
	}
	return errors.Join(all...)
}

const (
	prefix   = "SECRETSYNC_"
	reserved = prefix + "GENERATION" // set for the command of SECRETSYNC_EXEC
)

// serviceLink matches the variables of the kubelet for a Service whose name starts with our
// prefix. If the name ends in PORT, the value must also be a value of the kubelet:
// SECRETSYNC_HTTP_PORT=8080 is a mistake.
var serviceLink = regexp.MustCompile(`^SECRETSYNC_(.+_)?(SERVICE_HOST=|SERVICE_PORT(_.+)?=[0-9]+$|` +
	`PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=)`)

// addUnknown records each unknown variable with our prefix. The problem does not contain the
// value, which may be a token under a misspelled name.
func (p *problems) addUnknown(known []string) {
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
		p.add(strings.Trim(strconv.Quote(name), `"`), "unknown variable; %s", hint)
	}
}

// nearest returns the known variable most similar to name, or "" if more than a third of the
// letters differ. A missing word at an end (WEBHOOK for WEBHOOK_URL) is a better match. Case
// and the part before the first underscore do not count: SECRETSYNC_NAMESPACE is
// POD_NAMESPACE.
func nearest(name string, known []string) string {
	_, name, _ = strings.Cut(strings.ToUpper(name), "_")
	var suffixes []string
	for _, variable := range known {
		_, suffix, _ := strings.Cut(variable, "_")
		if strings.HasPrefix(suffix, name+"_") || strings.HasSuffix(suffix, "_"+name) {
			return variable
		}
		suffixes = append(suffixes, suffix)
	}
	near := typo.Nearest(name, suffixes, max(2, len(name)/3))
	if near == "" {
		return ""
	}
	return known[slices.Index(suffixes, near)]
}
