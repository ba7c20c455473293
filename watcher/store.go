package watcher

import (
	"fmt"
	"log/slog"
)

// store is what one Reflector writes to. It keeps nothing itself. Its methods
// are called by one goroutine at a time.
type store struct {
	query  query
	state  *state
	logger *slog.Logger
	warned bool
}

// wanted is the Secret in an event or list, nil if it is not to be kept.
func (s *store) wanted(object any) *apiSecret {
	item, ok := object.(*apiSecret)
	if ok && s.query.match(item) {
		if s.query.elsewhere(item.Name) {
			return nil
		}
		return item
	}
	s.stranger(object)
	return nil
}

// stranger warns, once, of an object that was not asked for.
func (s *store) stranger(object any) {
	if s.warned {
		return
	}
	s.warned = true
	what := fmt.Sprintf("%T", object)
	if item, ok := object.(*apiSecret); ok {
		what = fmt.Sprintf("Secret %.300q of namespace %.80q", item.Name, item.Namespace)
	}
	s.logger.Warn("ignored an object that was not asked for", "object", what)
}

// Replace takes the answer of a list.
func (s *store) Replace(objects []any, _ string) error {
	items := make([]*apiSecret, 0, len(objects))
	for _, object := range objects {
		if item := s.wanted(object); item != nil {
			items = append(items, item)
		}
	}
	s.state.replace(s.query.watch(), items)
	return nil
}

// Add takes a Secret that is new to the watch.
func (s *store) Add(object any) error { return s.Update(object) }

// Update takes a Secret that changed.
func (s *store) Update(object any) error {
	if item := s.wanted(object); item != nil {
		s.state.put(s.query.watch(), item)
	}
	return nil
}

// Delete takes a Secret that is gone, or does not match any more: its labels
// are those that do not match.
func (s *store) Delete(object any) error {
	item, ok := object.(*apiSecret)
	if !ok || item.Namespace != s.query.namespace || (s.query.name != "" && item.Name != s.query.name) {
		s.stranger(object)
		return nil
	}
	s.state.remove(s.query.watch(), item.Name)
	return nil
}

// Resync is never asked for.
func (s *store) Resync() error { return nil }
