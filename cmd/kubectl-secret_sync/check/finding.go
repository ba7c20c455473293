// Package check finds mistakes in the specs of workloads with secret-sync before they run.
//
// It reads the objects of the input, and, for workloads of a cluster, the objects around them. It
// reads the names of the keys of a Secret, and no value.
package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// A Severity is the severity of a finding.
type Severity string

// The severities, the worst first. A note says that check could not decide.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// A Finding is a mistake in an object. Its texts contain no value of a Secret.
type Finding struct {
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`
	Object   string   `json:"object"` // Deployment/app
	Field    string   `json:"field"`  // the field to change: spec.template.spec.volumes[0]
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"` // the line of the field in File, 0 if it is unknown
	Message  string   `json:"message"`
	Remedy   string   `json:"remedy"`
	Link     string   `json:"link"`
}

// page is the address of the page that explains the findings.
const page = "https://github.com/secret-sync/secret-sync/blob/main/docs/troubleshooting.md#"

// A Report contains the findings about the workloads of the input.
type Report struct {
	Workloads int       `json:"workloads"`
	Findings  []Finding `json:"findings"`
}

// Errors returns the number of errors.
func (r *Report) Errors() int { return r.count(Error) }

func (r *Report) count(s Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// sort sorts the findings by their place in the input, and removes duplicates, which two
// sidecars of a Pod can cause.
func (r *Report) sort() {
	severities := []Severity{Error, Warning, Note}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Object, b.Object),
			slices.Index(severities, a.Severity)-slices.Index(severities, b.Severity), cmp.Compare(a.Field, b.Field))
	})
	r.Findings = slices.Compact(r.Findings)
}

// WriteJSON writes the report as a JSON document.
func (r *Report) WriteJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes two lines per finding, in the format of a compiler, and a summary.
func (r *Report) WriteText(out io.Writer) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(out, "%s%s: %s: %s: %s; %s\n    %s\n",
			f.place(), f.Severity, f.Object, f.Field, f.Message, f.Remedy, f.Link); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%s, %s, %s in %s with secret-sync\n", plural(r.count(Error), "error"),
		plural(r.count(Warning), "warning"), plural(r.count(Note), "note"), plural(r.Workloads, "workload"))
	return err
}

func (f Finding) place() string {
	switch {
	case f.File == "":
		return ""
	case f.Line == 0:
		return f.File + ": "
	}
	return fmt.Sprintf("%s:%d: ", f.File, f.Line)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
