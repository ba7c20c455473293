package watcher

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
)

// object is a Secret as the API server sends it, without what is not used here:
// annotations and managed fields can be larger than the data.
//
// k8s.io/api/core/v1 has such a type, too, but registers those of its whole group, so
// that the linker keeps every method of each: 3.2 MB of the binary, and 1 MB of
// memory. The tests compare the two.
type object struct {
	kube.Header
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

// filter is what one watch asks for: one name, or a selector.
type filter struct {
	kube.Query
	labels labels.Selector // Selector, parsed
	named  []string        // by the selector: Secrets that have their own watch; sorted
}

// watch is the name of the watch.
func (f filter) watch() string {
	if f.Name == "" {
		return SelectorWatch
	}
	return WatchName(f.Name)
}

// matches reports whether a Secret was asked for.
func (f filter) matches(s *object) bool {
	return s.Namespace == f.Namespace && (f.Name == "" || f.Name == s.Name) && f.labels.Matches(labels.Set(s.Labels))
}

// replace takes the answer of a list: a Secret that is not in it does not exist.
func (w *watch) replace(items []object) {
	w.asked()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.contact = time.Now()
	changed := w.secrets == nil
	old := w.secrets
	w.secrets = make(map[string]Secret, len(items))
	for i := range items {
		changed = w.keep(old, &items[i]) || changed
	}
	if changed || len(w.secrets) != len(old) {
		w.changed()
	}
}

// apply takes an event.
func (w *watch) apply(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.contact = time.Now()
	changed := false
	switch e.Type {
	case apiwatch.Bookmark:
	case apiwatch.Deleted: // also: it left the selector, with labels that may not match
		if _, known := w.secrets[e.Object.Name]; known && e.Object.Namespace == w.Namespace {
			delete(w.secrets, e.Object.Name)
			changed = true
		}
	default:
		changed = w.keep(w.secrets, &e.Object)
	}
	if changed {
		w.changed()
	}
}

// keep keeps a Secret, and reports whether more than its version differs from what
// it was. When nothing does, the old data stays, so that the copy that came with a
// list or a change of labels is garbage. What was handed out in a Snapshot is never
// changed.
func (w *watch) keep(old map[string]Secret, s *object) (changed bool) {
	if !w.matches(s) {
		w.warn(s)
		return false
	}
	if _, own := slices.BinarySearch(w.named, s.Name); own {
		return false
	}
	was, existed := old[s.Name]
	is := Secret{UID: s.UID, ResourceVersion: s.ResourceVersion, Data: s.Data}
	changed = !existed || is.UID != was.UID || !maps.EqualFunc(is.Data, was.Data, secret.Value.Equal)
	if !changed {
		is.Data = was.Data
	}
	w.secrets[s.Name] = is
	return changed
}

// warn logs, once, an object that was not asked for.
func (w *watch) warn(s *object) {
	if !w.warned {
		w.warned = true
		w.logger.Warn("ignored an object that was not asked for",
			"object", fmt.Sprintf("Secret %.300q of namespace %.80q", s.Name, s.Namespace))
	}
}
