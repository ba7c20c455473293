package config

import (
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// reject records that a value is invalid: all that v is set to or an entry of it.
// The problem is empty where the value and what is allowed explain it.
func (v *variable) reject(value, problem, allowed string) {
	if v.has("secret") {
		value = scheme.FindString(value) + "... (not shown)"
	}
	detail := "must be " + allowed
	if problem != "" {
		detail = problem + "; " + detail
	}
	v.problems = append(v.problems, field.Invalid(field.NewPath(v.name), short(value), detail))
}

// scheme is what an error shows of a URL: user, query and path may each hold a
// password.
var scheme = regexp.MustCompile(`^(https?|unix)://`)

// missing records that v is not set.
func (v *variable) missing(detail string) {
	if path := v.tag.Get("downward"); path != "" {
		detail += fmt.Sprintf("; add to the env of the container: - {name: %s, valueFrom: {fieldRef: {fieldPath: %s}}}", v.name, path)
	}
	v.problems = append(v.problems, field.Required(field.NewPath(v.name), detail))
}

// short returns the beginning of a long value.
func short(value string) string {
	beginning := fmt.Sprintf("%.120s", value)
	if beginning != value {
		beginning += "..."
	}
	return beginning
}
