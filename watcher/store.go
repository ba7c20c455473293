package watcher

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/status"
)

// A Snapshot is the state of all watched Secrets at a moment. It is immutable.
type Snapshot struct {
	// Secrets contains the existing Secrets by name. If a Secret is both named and selected, it comes from its own
	// watch.
	Secrets map[string]Secret
	// Unsynced contains the watches whose first list is unanswered. A Secret does not exist if it is neither in Secrets
	// nor followed by such a watch.
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

	DataSince    string          // lowest version from which the data provably did not change until ResourceVersion
	PreviousData status.Interval // newest known interval in which the data differed from Data, zero if none is known
}

// After returns s with its history. If gap is set, the versions between previous and s are unknown: the data may have
// changed and changed back, or the cluster may have been restored from a backup. No interval from before the gap then
// says anything about this history. If the data did not change, the result shares the map of previous.
func (s Secret) After(previous Secret, gap bool) Secret {
	s.DataSince = s.ResourceVersion
	switch same := s.same(previous); {
	case s.UID != previous.UID:
	case same && (!gap || s.ResourceVersion == previous.ResourceVersion):
		s.Data, s.DataSince, s.PreviousData = previous.Data, previous.DataSince, previous.PreviousData
	case same:
		s.Data = previous.Data
	case !gap:
		s.PreviousData = status.Interval{Since: previous.DataSince, Until: previous.ResourceVersion}
	}
	return s
}

// same reports whether only the metadata of two versions differs.
func (s Secret) same(other Secret) bool {
	return s.UID == other.UID && maps.EqualFunc(s.Data, other.Data, secret.Value.Equal)
}

// older reports whether resourceVersion a is provably older than b.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// An object is a Secret without its annotations and managed fields, which can be larger than the data. "Why not an
// informer" in docs/design.md explains why it is not the type of core/v1.
type object struct {
	kube.TypeMeta
	metadata `json:"metadata"`
	Data     map[string]secret.Value `json:"data"`
}

// JSON matches the names of metadata without regard to case.
type metadata struct {
	Name, Namespace, UID, ResourceVersion string
	Labels                                map[string]string
}

func (o *object) secret() Secret {
	return Secret{UID: o.UID, ResourceVersion: o.ResourceVersion, Data: o.Data}
}

// accepts reports whether the watch stores the object. It ignores objects that it did not request. A named Secret
// belongs to its own watch.
func (w *watch) accepts(o *object) bool {
	if w.Name == "" && slices.Contains(w.names, o.Name) {
		return false
	}
	return o.Namespace == w.Namespace && (w.Name == "" || w.Name == o.Name) && w.labels.Matches(labels.Set(o.Labels))
}

// replace stores the answer of a list. It reports whether the list contains a change that no event delivered.
func (w *watch) replace(items []object) (missed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.LastContact = time.Now().UTC()
	old := w.secrets
	w.secrets = make(map[string]Secret, len(items))
	for i := range items {
		if o := &items[i]; w.accepts(o) {
			missed = missed || old[o.Name].ResourceVersion != o.ResourceVersion
			w.secrets[o.Name] = o.secret().After(old[o.Name], true)
		}
	}
	changed := !maps.EqualFunc(old, w.secrets, Secret.same)
	if changed || old == nil {
		w.changes.Poke()
	}
	return old != nil && (missed || changed)
}

// apply stores an event, unless the list of the version listed already contains it. A Deleted event may carry labels
// outside the selector.
func (w *watch) apply(e event, listed string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.LastContact = time.Now().UTC()
	o := &e.Object
	previous, existed := w.secrets[o.Name]
	switch {
	case e.Type == apiwatch.Bookmark || o.ResourceVersion == listed || older(o.ResourceVersion, listed):
	case e.Type == apiwatch.Deleted:
		if existed && o.Namespace == w.Namespace {
			delete(w.secrets, o.Name)
			w.changes.Poke()
		}
	case w.accepts(o):
		w.secrets[o.Name] = o.secret().After(previous, false)
		if !existed || !w.secrets[o.Name].same(previous) {
			w.changes.Poke()
		}
	}
}
