package status

import (
	"encoding/json"
	"fmt"
)

// The required fields of each object of a document. A reader must not take a missing field
// for its zero value: a document without targets does not mean that all are notified.
var (
	documentFields = []string{"format", "namespace", "pod", "podUID", "instance", "volume",
		"generation", "complete", "secrets", "targets", "watches"}
	secretFields = []string{"present", "uid", "resourceVersion", "dataSince", "previousData", "generation", "refused"}
	targetFields = []string{"name", "notified", "pending", "successes", "failures", "error"}
	watchFields  = []string{"name", "up"}
)

// Parse parses a document. It returns an error if the document is of another format or lacks
// a required field. A null counts as missing. It ignores unknown fields. Its errors quote
// nothing from data, because data may come from another program.
func Parse(data []byte) (*Document, error) {
	var d Document
	if json.Unmarshal(data, &d) != nil {
		return nil, fmt.Errorf("not a status document of format %d: no JSON object of this form", Format)
	}
	if d.Format != Format {
		return nil, fmt.Errorf("not a status document of format %d: its format is %d", Format, d.Format)
	}
	if missing := missingField(data); missing != "" {
		return nil, fmt.Errorf("not a status document of format %d: %s is missing", Format, missing)
	}
	return &d, nil
}

// missingField returns the first required field absent from data, "" for none.
func missingField(data []byte) string {
	var d struct {
		Secrets map[string]fields `json:"secrets"`
		Targets []fields          `json:"targets"`
		Watches []fields          `json:"watches"`
	}
	var all fields
	_, _ = json.Unmarshal(data, &all), json.Unmarshal(data, &d) // both succeeded in Parse
	if name := all.missing(documentFields); name != "" {
		return name
	}
	for _, s := range d.Secrets {
		if name := s.missing(secretFields); name != "" {
			return "secrets." + name
		}
	}
	for _, t := range d.Targets {
		if name := t.missing(targetFields); name != "" {
			return "targets." + name
		}
	}
	for _, w := range d.Watches {
		if name := w.missing(watchFields); name != "" {
			return "watches." + name
		}
	}
	return ""
}

// fields are the fields of a JSON object. A field with the value null counts as missing.
type fields map[string]*json.RawMessage

// missing returns the first of names absent from f, "" for none.
func (f fields) missing(names []string) string {
	for _, name := range names {
		if f[name] == nil {
			return name
		}
	}
	return ""
}
