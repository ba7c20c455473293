package watcher

import (
	"maps"
	"sync"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// state is what all watches together know. The maps in it that were handed out
// are not changed any more; a Secret that changes gets a new one.
type state struct {
	changed func() // called with mu held, so that it must not block

	mu      sync.Mutex
	watches map[string]map[string]Secret // watch → name of a Secret → the Secret; nil: not answered yet
}

func newState(changed func()) *state {
	return &state{changed: changed, watches: map[string]map[string]Secret{}}
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

// replace takes what a list answered: what it does not have does not exist.
func (s *state) replace(watch string, items []*apiSecret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.watches[watch]
	now := make(map[string]Secret, len(items))
	changed := old == nil
	for _, item := range items {
		was, existed := old[item.Name]
		is, differs := keep(was, item)
		now[item.Name] = is
		changed = changed || differs || !existed
	}
	changed = changed || len(now) != len(old)
	s.watches[watch] = now
	if changed {
		s.changed()
	}
}

// put takes one Secret from an event.
func (s *state) put(watch string, item *apiSecret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, existed := s.watches[watch][item.Name]
	is, differs := keep(was, item)
	s.watches[watch][item.Name] = is
	if differs || !existed {
		s.changed()
	}
}

// remove forgets a Secret that was deleted, or left the selector.
func (s *state) remove(watch, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, existed := s.watches[watch][name]; !existed {
		return
	}
	delete(s.watches[watch], name)
	s.changed()
}

// keep makes what is kept of a Secret, and tells whether more than its version
// differs from what it was. When nothing does, the old data stays, so that the
// copy that came with a resync or a change of labels is garbage.
func keep(was Secret, item *apiSecret) (Secret, bool) {
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
