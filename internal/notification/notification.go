// Package notification defines the values that the writer and the notifier exchange. It contains names of Secrets
// and paths below the volume, never values.
package notification

// Changes are the differences between two generations. Their JSON is the body of a webhook and the standard input of a
// command. The lists are sorted and not nil, so the JSON of an empty list is [].
type Changes struct {
	Generation uint64   `json:"generation"` // the later generation
	Secrets    []string `json:"secrets"`
	Added      []string `json:"added"` // paths
	Changed    []string `json:"changed"`
	Removed    []string `json:"removed"`
}

// A TargetRecord is the state of a target in the volume. Only processes have ends: a process that ends shortly after a
// signal was not notified.
type TargetRecord struct {
	Notified uint64 `json:"notified"`           // generation of the last notification
	Ends     int    `json:"ends,omitempty"`     // signals in a row after which the process ended
	Ended    uint64 `json:"ended,omitempty"`    // generation of the last of them
	Settings string `json:"settings,omitempty"` // how the process is signaled
	Process  string `json:"process,omitempty"`  // State of the process before its last signal

	// Until it has survived this signal, the process is observed. Previous is the generation of the
	// notification before.
	Observing bool   `json:"observing,omitempty"`
	Previous  uint64 `json:"previous,omitempty"`
}
