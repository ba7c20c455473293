package watcher

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// upAfter is the time without an error after which a failed watch counts as up.
// Otherwise a watch that ends immediately would alternate between up and down.
const upAfter = 2 * time.Second

// health tracks whether a watch is working. It logs transitions, not individual attempts.
type health struct {
	up      bool
	contact time.Time   // last contact with the API server
	err     *kube.Error // last error since the watch was up, or nil
	logged  *kube.Error // last logged error since the watch was up, or nil
	since   time.Time   // time of the first error since the watch was up
}

// setUp marks the watch as up. After an error, it does so only if stable is true. It does
// nothing if the attempt has ended.
func (w *watch) setUp(attempt context.Context, stable bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up || attempt.Err() != nil || w.err != nil && !stable {
		return
	}
	if w.logged != nil {
		w.logger.Info("watch recovered", "duration", time.Since(w.since).Round(time.Millisecond).String())
	} else {
		w.logger.Debug("watch connected")
	}
	w.up, w.err, w.logged = true, nil, nil
}

// setDown marks the watch as down. It logs an error whose cause differs from the last
// logged cause.
func (w *watch) setDown(e *kube.Error) {
	w.firstDone()
	w.mu.Lock()
	defer w.mu.Unlock()
	// A starting API server answers 403 until it has loaded its RBAC rules. The first
	// 403 is therefore not logged.
	early := apierrors.IsForbidden(e) && !sameCause(w.err, e)
	if w.err == nil {
		w.since = time.Now()
	}
	w.up, w.err = false, e
	if early || sameCause(w.logged, e) {
		return
	}
	w.logged = e
	attrs := []any{"err", e.Error()}
	if e.Hint != "" {
		attrs = append(attrs, "hint", e.Hint)
	}
	if apierrors.IsForbidden(e) {
		attrs = append(attrs, "rule", kube.MissingRule(e.Verb, w.Name))
	}
	w.logger.Warn("watch failed, retrying", attrs...)
}

// sameCause reports whether a log line for a also covers b. The rule that a Role lacks
// depends on the verb.
func sameCause(a, b *kube.Error) bool {
	return a != nil && a.Cause == b.Cause && (a.Verb == b.Verb || !apierrors.IsForbidden(b))
}
