package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with the environment.
type Mistake struct {
	Variable string
	problem  string // what it holds and what it may hold
	downward string // the field of the Pod that the downward API gives it from; may be empty
}

// Error is one line.
func (m Mistake) Error() string { return m.Variable + " " + m.problem }

// MistakesError is everything that is wrong with the environment, in the order
// of the table of variables.
type MistakesError []Mistake

// Error is one line for each mistake. The YAML that adds what the downward API
// gives follows these lines, ready to paste.
func (e MistakesError) Error() string {
	var lines, yaml []string
	for _, m := range e {
		lines = append(lines, m.Error())
		if m.downward != "" {
			yaml = append(yaml, fmt.Sprintf(downwardYAML, m.Variable, m.downward))
		}
	}
	if len(yaml) > 0 {
		lines = append(lines, "add to the container of secret-sync:\n        env:")
		lines = append(lines, yaml...)
	}
	return strings.Join(lines, "\n")
}

const downwardYAML = `        - name: %s
          valueFrom:
            fieldRef:
              fieldPath: %s`

// reject records what is wrong with a value: with all of what v holds or with an
// entry of it. The problem is empty where the value and what is allowed explain
// it.
func (v *variable) reject(value, problem, allowed string) {
	line := "holds " + quote(value)
	if v.has("secret") {
		line = "holds " + mask(value)
	}
	if problem != "" {
		line += ": " + problem
	}
	v.mistakes = append(v.mistakes, Mistake{Variable: v.name, problem: line + "; it may hold " + allowed})
}

// require rejects what v holds unless it is valid.
func (v *variable) require(valid bool, allowed string) {
	if !valid {
		v.reject(v.text, "", allowed)
	}
}

// missing records that v is not set.
func (v *variable) missing(problem, allowed string) {
	v.mistakes = append(v.mistakes, Mistake{v.name, problem + "; it may hold " + allowed, v.tag.Get("downward")})
}

// mask stands for a value that may be secret. Of a URL it shows the scheme:
// user, query and path may each hold a password.
func mask(value string) string {
	for _, scheme := range []string{"http://", "https://", "unix://"} {
		if strings.HasPrefix(value, scheme) {
			return scheme + "... (the rest is not shown)"
		}
	}
	return "a value that is not shown"
}

// quote gives a value as one printable line, and of a long one the beginning.
func quote(value string) string {
	quoted := fmt.Sprintf("%.120q", value)
	if utf8.RuneCountInString(value) > 120 {
		quoted += "..."
	}
	return quoted
}

// printable makes one line of a text from elsewhere.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
