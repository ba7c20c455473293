package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with the environment.
type Mistake struct {
	Variable string
	Holds    string // quoted; empty where nothing is set, or where it may be secret
	Problem  string // what is wrong, where Holds and May do not say it; may be empty
	May      string // what the variable may hold
	field    string // the downward API's field that gives it; may be empty
}

// Error is one line: the variable, what it holds and what it may hold.
func (m Mistake) Error() string {
	var line strings.Builder
	line.WriteString(m.Variable)
	if m.Holds != "" {
		line.WriteString(" holds " + m.Holds)
	}
	if m.Problem != "" {
		if m.Holds != "" {
			line.WriteString(":")
		}
		line.WriteString(" " + m.Problem)
	}
	if m.May != "" {
		line.WriteString("; it may hold " + m.May)
	}
	return line.String()
}

// MistakesError is everything that is wrong with the environment, in the order
// of the table of variables.
type MistakesError []Mistake

// Error is one line for each mistake. The lines of YAML that add what the
// downward API gives follow them, ready to paste, so that the lines before stay
// one for each mistake.
func (e MistakesError) Error() string {
	var lines, yaml []string
	for _, m := range e {
		lines = append(lines, m.Error())
		if m.field != "" {
			yaml = append(yaml, fmt.Sprintf(downward, m.Variable, m.field))
		}
	}
	if len(yaml) > 0 {
		lines = append(lines, "add to the container of secret-sync:\n        env:")
		lines = append(lines, yaml...)
	}
	return strings.Join(lines, "\n")
}

const downward = `        - name: %s
          valueFrom:
            fieldRef:
              fieldPath: %s`

// shown is the longest part of a value that a mistake repeats, in bytes.
const shown = 120

// quote gives a value as one printable line.
func quote(value string) string {
	if len(value) <= shown {
		return strconv.Quote(value)
	}
	cut := shown
	for cut > 0 && !utf8.RuneStart(value[cut]) {
		cut--
	}
	return strconv.Quote(value[:cut]) + "..."
}
