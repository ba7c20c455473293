package watcher

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
)

// An object is a Secret as the API server sends it. It omits annotations and managed
// fields, which can be larger than the data. The section "Why not an informer" of
// docs/design.md explains why it is not the type of k8s.io/api/core/v1.
type object struct {
	kube.TypeMeta
	metadata `json:"metadata"`
	Data     map[string]secret.Value `json:"data"`
}

type metadata struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace"`
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Labels          map[string]string `json:"labels"`
}

// secret returns the object as a version without history.
func (o *object) secret() Secret {
	return Secret{UID: o.UID, ResourceVersion: o.ResourceVersion, Data: o.Data}
}

// A filter selects the Secrets of a watch: a single name, or a label selector.
type filter struct {
	kube.Query
	labels labels.Selector // Query.Selector, parsed
	named  []string        // for a selector: Secrets with their own watch, sorted
}

// listTimeout returns the time limit of a list. HTTP/2 pings detect a dead connection
// earlier. The list of a selector may be much longer than a Secret.
func (f filter) listTimeout() time.Duration {
	if f.Name == "" {
		return 30 * time.Second
	}
	return 15 * time.Second
}

// watchName returns the name of the watch in metrics and logs.
func (f filter) watchName() string {
	if f.Name == "" {
		return SelectorWatch
	}
	return WatchName(f.Name)
}

// selects reports whether the API server should have sent the object.
func (f filter) selects(o *object) bool {
	return o.Namespace == f.Namespace && (f.Name == "" || f.Name == o.Name) && f.labels.Matches(labels.Set(o.Labels))
}

// accepts reports whether the watch stores the object. It logs the first object outside
// the request. A named Secret belongs to its own watch.
func (w *watch) accepts(o *object) bool {
	if !w.selects(o) {
		w.warnOnce(o)
		return false
	}
	_, named := slices.BinarySearch(w.named, o.Name)
	return !named
}

func (w *watch) warnOnce(o *object) {
	if !w.warned {
		w.warned = true
		w.logger.Warn("ignored an object that does not match the request",
			"object", fmt.Sprintf("Secret %.300q in namespace %.80q", o.Name, o.Namespace))
	}
}

// replace stores the answer of a list. A Secret without an item does not exist. replace
// reports whether the synced state lacked a version or a deletion.
func (w *watch) replace(items []object) (missed bool) {
	w.firstDone()
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	w.contact = time.Now()
	old := w.secrets
	changed := old == nil
	w.secrets = make(map[string]Secret, len(items))
	for i := range items {
		if o := &items[i]; w.accepts(o) {
			previous, existed := old[o.Name]
			missed = missed || previous.ResourceVersion != o.ResourceVersion
			changed = w.store(o.Name, o.secret().followList(previous), previous, existed) || changed
		}
	}
	changed = changed || len(w.secrets) != len(old)
	if changed {
		w.changed()
	}
	return old != nil && (missed || changed)
}

// apply stores an event of a stream, unless the stream is retired or its list is newer. A
// Deleted event may carry labels outside the selector.
func (w *watch) apply(s *stream, e event) {
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	w.contact = time.Now()
	s.version = e.Object.ResourceVersion
	order, err := resourceversion.CompareResourceVersion(s.version, s.listed)
	if s.retired || err == nil && order <= 0 {
		return
	}
	o, changed := &e.Object, false
	previous, existed := w.secrets[o.Name]
	switch {
	case e.Type == apiwatch.Bookmark:
	case e.Type == apiwatch.Deleted:
		if changed = existed && o.Namespace == w.Namespace; changed {
			delete(w.secrets, o.Name)
		}
	case w.accepts(o):
		changed = w.store(o.Name, o.secret().followEvent(previous), previous, existed)
	}
	if changed {
		w.changed()
	}
}

// store updates the cached copy of a Secret and reports whether its UID or its data
// changed. If only metadata changed, s shares the data map of previous, so the new map
// becomes garbage. Maps in a Snapshot never change.
func (w *watch) store(name string, s, previous Secret, existed bool) (changed bool) {
	w.secrets[name] = s
	return !existed || !s.sameObject(previous) || !s.sameData(previous)
}
