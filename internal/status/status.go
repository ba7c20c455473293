// Package status defines the document of GET /status: the versions of the Secrets in the
// files, and the generation of which each target was notified. `secret-sync status` prints
// the document, and `secret-sync wait` decides by it.
//
// A document never claims more than is true of the volume and the app at the time of the
// request: it contains a version only after its files are in the volume. It contains names,
// versions and times, and no value, length or hash of a value.
package status

import (
	"encoding/json"
	"io"
	"time"
)

// Format is the number of the document's format. A new field keeps the number. Removing a
// field or changing its meaning requires a new number.
const Format = 2

// A Document is the state of a sidecar.
type Document struct {
	Format    int    `json:"format"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUID"`
	// Instance is the random name of the process. A restarted sidecar uses a new name.
	Instance string `json:"instance"`
	// Volume is the random name of the volume, "" before its first generation.
	Volume string `json:"volume"`
	// Generation is the number of the generation in the volume, 0 for none.
	Generation uint64            `json:"generation"`
	Complete   bool              `json:"complete"` // as reported by /readyz
	Secrets    map[string]Secret `json:"secrets"`  // by name
	Targets    []Target          `json:"targets"`
	Watches    []Watch           `json:"watches"`
}

// A Secret is the state of a Secret. The sidecar watches the Secret, or the volume contains
// files of it.
type Secret struct {
	// Present reports whether the Secret existed in the API server's last answer. The
	// files of a deleted Secret may remain.
	Present bool   `json:"present"`
	UID     string `json:"uid"`
	// ResourceVersion is the newest version processed by the sidecar: its files are in the
	// volume, or it was refused. It also grows if no file had to change.
	ResourceVersion string `json:"resourceVersion"`
	// DataSince is the lowest version with equal data until ResourceVersion, as far as the
	// sidecar knows. The sidecar knows it from a watch without a gap.
	DataSince string `json:"dataSince"`
	// PreviousData is the newest interval in which the sidecar saw other data.
	PreviousData Interval `json:"previousData"`
	// Generation is the generation in which the files of the Secret last changed, 0 without
	// files.
	Generation uint64 `json:"generation"`
	// Refused is the reason why the newest version is not in the files, "" if it is.
	Refused string `json:"refused"`
}

// An Interval is a range of versions with equal data, both ends included. Its fields are ""
// if no such range is known.
type Interval struct {
	Since string `json:"since"`
	Until string `json:"until"`
}

// A Target is the state of a notification target.
type Target struct {
	Name     string `json:"name"`
	Notified uint64 `json:"notified"` // the last notified generation
	Pending  bool   `json:"pending"`  // whether it must be notified of a newer generation
	// PendingSince is the time at which this process found the notification pending.
	PendingSince time.Time `json:"pendingSince,omitzero"`
	// Successes is the number of notifications sent by this process. If a reader sees the
	// same number twice, none was sent in between.
	Successes uint64 `json:"successes"`
	Failures  uint64 `json:"failures"` // failed attempts since the last success
	Error     string `json:"error"`    // the kind of the last failure, "" for none
	// Recipient is the PID and the name of the last signaled process.
	Recipient string `json:"recipient,omitempty"`
}

// A Watch is the state of a watch of the API server.
type Watch struct {
	Name        string    `json:"name"` // secret/NAME or selector
	Up          bool      `json:"up"`
	LastContact time.Time `json:"lastContact,omitzero"`
}

// WriteJSON writes document as indented JSON.
func WriteJSON(out io.Writer, document any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}
