package watcher

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

// query is what one watch asks for: one name, or a selector.
type query struct {
	kubeapi.Query
	labels labels.Selector // Selector, parsed
	named  []string        // by the selector: Secrets that have their own watch; sorted
}

// watch is the name of the watch.
func (q query) watch() string {
	if q.Name == "" {
		return SelectorWatch
	}
	return WatchName(q.Name)
}

// covers reports whether an object, also one that was deleted, can be of this
// query. One that left the selector has labels that do not match.
func (q query) covers(s *kubeapi.Secret) bool {
	return s.Namespace == q.Namespace && s.Name != "" && (q.Name == "" || q.Name == s.Name)
}

// matches reports whether a Secret was asked for.
func (q query) matches(s *kubeapi.Secret) bool {
	return q.covers(s) && (q.Name != "" || q.labels.Matches(labels.Set(s.Labels)))
}

// leaves reports whether a selected Secret is left to its own watch.
func (q query) leaves(name string) bool {
	_, found := slices.BinarySearch(q.named, name)
	return found
}
