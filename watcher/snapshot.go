package watcher

import (
	"maps"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// A Snapshot is the state of all watched Secrets at a moment. It is immutable.
type Snapshot struct {
	// Secrets contains the existing Secrets by name. If a Secret is both named and
	// selected, it comes from its own watch.
	Secrets map[string]Secret
	// Unsynced contains the watches whose first list is unanswered. A Secret does not
	// exist if it is neither in Secrets nor followed by such a watch.
	Unsynced map[string]bool
}

// SelectorWatch is the name of the selector's watch in metrics and logs.
const SelectorWatch = "selector"

// WatchName returns the name of a Secret's own watch in metrics and logs.
func WatchName(secretName string) string { return "secret/" + secretName }

// A Secret is a version of a Secret, reduced to the fields for the files.
type Secret struct {
	UID             string
	ResourceVersion string
	Data            map[string]secret.Value // by key

	// DataSince is the lowest resourceVersion from which the data provably did not
	// change until ResourceVersion.
	DataSince string
	// PreviousData is the newest known interval in which the data differed from Data.
	// It is zero if no such interval is known.
	PreviousData Interval
}

// An Interval contains the resourceVersions from Since to Until, both inclusive.
type Interval struct{ Since, Until string }

// followEvent returns s with its history, where s arrived as the event after previous.
// No version exists between the two.
func (s Secret) followEvent(previous Secret) Secret {
	if s.sameObject(previous) && s.sameData(previous) {
		s.Data, s.DataSince, s.PreviousData = previous.Data, previous.DataSince, previous.PreviousData
		return s
	}
	return s.followList(previous)
}

// followList returns s with its history, where s comes from a list after a gap. The
// versions between previous and s are unknown, so the data may have changed and changed
// back. If the version did not grow, the cluster was restored from a backup, and the
// intervals belong to a lost history.
func (s Secret) followList(previous Secret) Secret {
	s.DataSince = s.ResourceVersion
	if !s.sameObject(previous) {
		return s
	}
	order, err := resourceversion.CompareResourceVersion(s.ResourceVersion, previous.ResourceVersion)
	grown := err == nil && order > 0
	switch {
	case s.sameData(previous) && s.ResourceVersion == previous.ResourceVersion:
		return previous
	case s.sameData(previous):
		s.Data = previous.Data
		if grown {
			s.PreviousData = previous.PreviousData
		}
	case grown:
		s.PreviousData = Interval{Since: previous.DataSince, Until: previous.ResourceVersion}
	}
	return s
}

func (s Secret) sameObject(other Secret) bool { return s.UID == other.UID }

func (s Secret) sameData(other Secret) bool {
	return maps.EqualFunc(s.Data, other.Data, secret.Value.Equal)
}
