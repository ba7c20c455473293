// Package status is the document that GET /status answers: which versions of
// which Secrets the files are from, and of which generation each target was
// notified. `secret-sync status` fetches and prints it, and `secret-sync wait` decides on it.
//
// It promises that a document never says more than is true of the volume and the
// app at the moment it was asked for: a Secret's version is in it only after its
// files are in the volume, and generations only grow. It has names, versions and
// times, never a value, a length or a hash of one.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// Format is the number of the document's layout. A field may be added to a
// format; a field that goes or means something else makes a new one.
const Format = 1

// Document is the state of one sidecar.
type Document struct {
	Format    int    `json:"format"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Generation is the number of the generation in the volume, 0 for none.
	Generation uint64            `json:"generation"`
	Complete   bool              `json:"complete"` // as /readyz has it
	Secrets    map[string]Secret `json:"secrets"`  // by name
	Targets    []Target          `json:"targets"`
	Watches    []Watch           `json:"watches"`
}

// Secret is one Secret that is watched, or that has files in the volume.
type Secret struct {
	// Present reports whether the API server has it, by its last answer. Files of a
	// Secret that is gone may stay.
	Present bool   `json:"present"`
	UID     string `json:"uid"`
	// ResourceVersion is the newest that was seen and dealt with: its files are in
	// the volume, or it was refused. It grows also when nothing had to be
	// written.
	ResourceVersion string `json:"resourceVersion"`
	// Generation is the one since which the Secret's files are as they are, 0
	// when it has none.
	Generation uint64 `json:"generation"`
	// Refused is why the newest version is not in the files, "" when it is.
	Refused string `json:"refused"`
}

// Target is one notification target.
type Target struct {
	Name     string `json:"name"`
	Notified uint64 `json:"notified"` // of this generation last
	Pending  bool   `json:"pending"`  // of a newer one
	// PendingSince is when this process found the notification pending.
	PendingSince time.Time `json:"pendingSince,omitzero"`
	Failures     uint64    `json:"failures"` // tries that failed since the last success
	Error        string    `json:"error"`    // the kind of the last one, "" for none
}

// Watch is one watch of the API server.
type Watch struct {
	Name        string    `json:"name"` // secret/NAME or selector
	Up          bool      `json:"up"`
	LastContact time.Time `json:"lastContact,omitzero"`
}

// WriteJSON writes a document, this one or another, so that people can read it too.
func WriteJSON(out io.Writer, document any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// Fetch asks the sidecar that listens at HOST:PORT for its document, for Parse.
func Fetch(ctx context.Context, address string) ([]byte, error) {
	sidecar, err := kube.NewClient(&rest.Config{
		Host:  "http://" + address,
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }, // Pods are not behind that of the environment
	})
	if err != nil {
		return nil, err
	}
	defer sidecar.Close()
	return sidecar.Get(ctx, kube.JSON, "/status")
}

// Parse reads a document. It refuses another format, because a field that it
// does not know could be what makes it a no.
func Parse(data []byte) (*Document, error) {
	var d Document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("not a status document of format %d: it is no JSON object", Format) // the decoder's error may quote
	}
	if d.Format != Format {
		return nil, fmt.Errorf("not a status document of format %d: its format is %d", Format, d.Format)
	}
	return &d, nil
}
