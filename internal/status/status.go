// Package status defines the document of GET /status: the versions of the Secrets in the files, and the generation of
// which each target was notified. A document never claims more than is true of the volume and the app at the time of
// the request. It contains names, versions and times, and no value, length or hash of a value.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Format is the number of the document's format. A new field keeps the number. Removing a
// field or changing its meaning requires a new number.
const Format = 2

// A Document is the state of a sidecar.
type Document struct {
	Format     int               `json:"format"`
	Namespace  string            `json:"namespace"`
	Pod        string            `json:"pod"`
	PodUID     string            `json:"podUID"`
	Instance   string            `json:"instance"`   // random name of the process
	Volume     string            `json:"volume"`     // random name of the volume
	Generation uint64            `json:"generation"` // in the volume, 0 for none
	Complete   bool              `json:"complete"`   // as reported by /readyz
	Secrets    map[string]Secret `json:"secrets"`    // by name
	Targets    []Target          `json:"targets"`
	Watches    []Watch           `json:"watches"`
}

// A Secret is the state of a Secret. The sidecar watches the Secret, or the volume contains
// files of it. The files of a deleted Secret may remain.
type Secret struct {
	Present         bool     `json:"present"` // in the last answer of the API server
	UID             string   `json:"uid"`
	ResourceVersion string   `json:"resourceVersion"` // newest version that is published or refused
	DataSince       string   `json:"dataSince"`       // lowest version from which a watch proves equal data
	PreviousData    Interval `json:"previousData"`    // newest interval in which the sidecar saw other data
	Generation      uint64   `json:"generation"`      // in which the files last changed, 0 without files
	Refused         string   `json:"refused"`         // why the newest version is not in the files, "" if it is
}

// An Interval is a range of versions with equal data, both ends included. It may be empty.
type Interval struct {
	Since string `json:"since"`
	Until string `json:"until"`
}

// A Target is the state of a notification target.
type Target struct {
	Name         string    `json:"name"`
	Notified     uint64    `json:"notified"`              // the last notified generation
	Pending      bool      `json:"pending"`               // whether it must be notified of a newer generation
	PendingSince time.Time `json:"pendingSince,omitzero"` // when this process found the notification pending
	Successes    uint64    `json:"successes"`             // notifications sent by this process
	Failures     uint64    `json:"failures"`              // failed attempts since the last success
	Failed       uint64    `json:"failed,omitempty"`      // failed attempts of this process
	Error        string    `json:"error"`                 // kind of the last failure, "" for none
	Recipient    string    `json:"recipient,omitempty"`   // PID and name of the last signaled process
	Observing    bool      `json:"observing,omitempty"`   // whether its end would still withdraw the notification
}

// A Watch is the state of a watch of the API server.
type Watch struct {
	Name        string    `json:"name"` // secret/NAME or selector
	Up          bool      `json:"up"`
	DownSince   time.Time `json:"downSince,omitzero"` // begin of the current failure
	LastContact time.Time `json:"lastContact,omitzero"`
}

// WriteJSON writes document as indented JSON.
func WriteJSON(out io.Writer, document any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// WriteText writes the document as tables. It computes ages relative to now.
func (d *Document) WriteText(out io.Writer, now time.Time) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }
	row("generation %d, %s", d.Generation, either(d.Complete, "complete", "not complete"))
	row("\nSECRET\tSTATE\tVERSION\tGENERATION\tUID")
	for _, name := range slices.Sorted(maps.Keys(d.Secrets)) {
		s := d.Secrets[name]
		state := either(s.Present, "present", "gone")
		if s.Refused != "" {
			state = "refused: " + s.Refused
		}
		row("%s\t%s\t%s\t%d\t%s", name, state, s.ResourceVersion, s.Generation, s.UID)
	}
	row("\nTARGET\tSTATE\tNOTIFIED\tFAILURES\tERROR")
	for _, g := range d.Targets {
		state := either(g.Pending, "pending", "notified")
		if !g.PendingSince.IsZero() {
			state += " for " + now.Sub(g.PendingSince).Round(time.Second).String()
		}
		row("%s\t%s\t%d\t%d\t%s", g.Name, state, g.Notified, g.Failures, g.Error)
	}
	row("\nWATCH\tSTATE\tLAST CONTACT")
	for _, w := range d.Watches {
		contact := now.Sub(w.LastContact).Round(time.Second).String() + " ago"
		row("%s\t%s\t%s", w.Name, either(w.Up, "up", "down"), either(w.LastContact.IsZero(), "never", contact))
	}
	return t.Flush()
}

func either(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// transport sends requests to Pods. It ignores the proxy variables of the environment, follows no redirect, and keeps
// no connection: a wait asks thousands of Pods.
var transport = &http.Transport{DisableKeepAlives: true}

// Fetch requests the document of the sidecar at HOST:PORT. It returns at most 8 MiB for Parse.
func Fetch(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: HTTP %s", request.URL, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, 8<<20))
}

// Parse parses a document. It returns an error if the document is of another format or lacks
// a required field. A null counts as missing. It ignores unknown fields. Its errors quote
// nothing from data, because data may come from another program.
func Parse(data []byte) (*Document, error) {
	var d Document
	var fields any
	problem := ""
	if json.Unmarshal(data, &d) != nil || json.Unmarshal(data, &fields) != nil {
		problem = "no JSON object of this form"
	} else if d.Format != Format {
		problem = fmt.Sprintf("its format is %d", d.Format)
	} else if name := missing(reflect.TypeFor[Document](), fields); name != "" {
		problem = name + " is missing"
	}
	if problem != "" {
		return nil, fmt.Errorf("not a status document of format %d: %s", Format, problem)
	}
	return &d, nil
}

// missing returns the first field of type t that is absent from value, "" for none. Every field without an
// option in its tag is required: a document without targets does not mean that all are notified.
func missing(t reflect.Type, value any) string {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			if name := missing(t.Elem(), element); name != "" {
				return name
			}
		}
	case map[string]any:
		if t.Kind() == reflect.Map {
			return missing(t, slices.Collect(maps.Values(value)))
		}
		for field := range t.Fields() {
			key, option, _ := strings.Cut(field.Tag.Get("json"), ",")
			if value[key] == nil && option == "" {
				return key
			}
			if name := missing(field.Type, value[key]); name != "" {
				return key + "." + name
			}
		}
	}
	return ""
}
