package watcher

import (
	"context"
	"time"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// upAfter is how long after its list a watch that had an error must be without one to
// be up again. Otherwise a watch that is opened and ends at once would be up and down
// with each attempt.
const upAfter = 2 * time.Second

// health is whether a watch works. Changes of that are logged, not attempts.
type health struct {
	up      bool
	contact time.Time   // the last one
	err     *kube.Error // the last one since it was up, nil for none
	logged  *kube.Error // the last one of these that was logged
	since   time.Time   // of the first of these
}

// setUp makes the watch up, unless the attempt has ended meanwhile. After an error
// the watch has to have lasted for upAfter.
func (w *watch) setUp(attempt context.Context, lasted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up || attempt.Err() != nil || w.err != nil && !lasted {
		return
	}
	if w.logged != nil {
		w.logger.Info("watch is up again", "dur", time.Since(w.since).Round(time.Millisecond).String())
	} else {
		w.logger.Debug("watch is up")
	}
	w.up, w.err, w.logged = true, nil, nil
}

// failed makes the watch down. An error is logged once, until there is another one.
func (w *watch) failed(e *kube.Error) {
	w.asked()
	w.mu.Lock()
	defer w.mu.Unlock()
	// An API server that starts answers 403 for a moment, before it has read its
	// RBAC rules: the first one is no reason to change a Role.
	early := e.Kind == kube.KindForbidden && !same(w.err, e)
	if w.err == nil {
		w.since = time.Now()
	}
	w.up, w.err = false, e
	if early || same(w.logged, e) {
		return
	}
	w.logged = e
	attrs := []any{"err", e.Error(), "do", e.Advice}
	if e.Kind == kube.KindForbidden {
		attrs = append(attrs, "rule", kube.MissingRule(e.Verb, w.Name))
	}
	w.logger.Warn("watch is down, will try again", attrs...)
}

// same reports whether there is nothing new to log. Which rule a role lacks
// differs with the verb.
func same(was, is *kube.Error) bool {
	return was != nil && is.Kind == was.Kind && (is.Kind != kube.KindForbidden || is.Verb == was.Verb)
}
