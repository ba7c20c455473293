package watcher

import (
	"fmt"
	"log/slog"
	"maps"
	"sync"

	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

// state is what all watches know, merged. Maps that were handed out are not
// changed any more; a Secret that changes gets a new one.
type state struct {
	changed func() // called with mu held, so that it must not block
	logger  *slog.Logger

	mu      sync.Mutex
	watches map[string]map[string]Secret // watch → name of a Secret → the Secret; nil: not answered yet
	warned  map[string]bool              // watch → it was warned of a foreign object
}

func newState(changed func(), logger *slog.Logger) *state {
	return &state{changed: changed, logger: logger, watches: map[string]map[string]Secret{}, warned: map[string]bool{}}
}

// watch makes a watch known, as one that was not answered yet.
func (s *state) watch(watch string) { s.watches[watch] = nil }

// snapshot merges the watches. No name is in two of them: the selector's leaves
// out the Secrets that are named.
func (s *state) snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := Snapshot{Secrets: map[string]Secret{}, Unanswered: map[string]bool{}}
	for watch, secrets := range s.watches {
		if secrets == nil {
			all.Unanswered[watch] = true
		}
		maps.Copy(all.Secrets, secrets)
	}
	return all
}

// replace takes the answer of a list: a Secret that is not in it does not exist.
func (s *state) replace(q query, items []kubeapi.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.watches[q.watch()]
	now := make(map[string]Secret, len(items))
	changed := old == nil
	for i := range items {
		item := &items[i]
		if !s.wanted(q, item, q.matches(item)) {
			continue
		}
		was, existed := old[item.Name]
		is, differs := keep(was, item)
		now[item.Name] = is
		changed = changed || differs || !existed
	}
	s.watches[q.watch()] = now
	if changed || len(now) != len(old) {
		s.changed()
	}
}

// apply takes an event.
func (s *state) apply(q query, event kubeapi.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, secrets := event.Secret, s.watches[q.watch()]
	was, existed := secrets[item.Name]
	switch event.Type {
	case apiwatch.Bookmark:
	case apiwatch.Deleted: // also: it left the selector
		if s.wanted(q, item, q.covers(item)) && existed {
			delete(secrets, item.Name)
			s.changed()
		}
	default:
		if !s.wanted(q, item, q.matches(item)) {
			return
		}
		is, differs := keep(was, item)
		secrets[item.Name] = is
		if differs || !existed {
			s.changed()
		}
	}
}

// wanted reports whether an object is to be kept. It warns, once for each watch,
// of an object that was not asked for.
func (s *state) wanted(q query, item *kubeapi.Secret, asked bool) bool {
	if !asked && !s.warned[q.watch()] {
		s.warned[q.watch()] = true
		s.logger.Warn("ignored an object that was not asked for", "watch", q.watch(),
			"object", fmt.Sprintf("Secret %.300q of namespace %.80q", item.Name, item.Namespace))
	}
	return asked && !q.leaves(item.Name)
}

// keep makes what is kept of a Secret, and reports whether more than its version
// differs from what it was. When nothing does, the old data stays, so that the
// copy that came with a resync or a change of labels is garbage.
func keep(was Secret, item *kubeapi.Secret) (Secret, bool) {
	is := Secret{UID: string(item.UID), ResourceVersion: item.ResourceVersion}
	if is.UID == was.UID && same(was.Data, item.Data) {
		is.Data = was.Data
		return is, false
	}
	is.Data = make(map[string]secret.Value, len(item.Data))
	for key, value := range item.Data {
		is.Data[key] = value
	}
	return is, true
}

func same(was map[string]secret.Value, is map[string][]byte) bool {
	return maps.EqualFunc(was, is, func(v secret.Value, b []byte) bool { return v.Equal(b) })
}
