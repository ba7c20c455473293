package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
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
	}
	p.all = append(p.all, &Problem{name, fmt.Sprintf("Invalid value: %q: %v", shorten(value), err)})
}

// missing records a variable as not set.
func (p *problems) missing(name, detail string) {
	p.all = append(p.all, &Problem{name, "Required value: " + detail})
}

// missingField records a variable with a field of the Pod as not set.
func (p *problems) missingField(name, path, reason string) {
	p.missing(name, fmt.Sprintf("%sadd to the env of the container: "+
		"- {name: %s, valueFrom: {fieldRef: {fieldPath: %s}}}", reason, name, path))
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
	var all []error
	for _, problem := range append(p.all, unknown(names)...) {
		all = append(all, problem)
	}
	return errors.Join(all...)
}

// shorten returns the beginning of a long value.
func shorten(value string) string {
	beginning := fmt.Sprintf("%.120s", value)
	if beginning != value {
		beginning += "..."
	}
	return beginning
}
