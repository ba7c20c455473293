package watcher

import "github.com/secret-sync/secret-sync/internal/secret"

// Secret is what is kept of a Secret: nothing that the files do not need.
type Secret struct {
	UID             string
	ResourceVersion string
	Data            map[string]secret.Value // by key
}

// Snapshot is everything that is known of the watched Secrets at one moment.
// It is a value: nothing in it changes after it was handed out.
type Snapshot struct {
	// Secrets has the Secrets that exist, by name. A Secret that is both named
	// and selected is here once, from its own watch.
	Secrets map[string]Secret
	// Unanswered has the watches (WatchName of a Secret, or SelectorWatch) that
	// no read of this process has been answered for yet. Of a Secret that is in
	// neither field it is known that it does not exist, or does not match.
	Unanswered map[string]bool
}

// SelectorWatch is the name of the selector's watch, in metrics and logs.
const SelectorWatch = "selector"

// WatchName gives the name of a Secret's own watch, in metrics and logs.
func WatchName(secretName string) string { return "secret/" + secretName }
