package watcher

import (
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/secret-sync/secret-sync/internal/kube"
)

const (
	endsEarlyHint = "check for a proxy between this Pod and the API server that has a short timeout or cannot stream"
	logAgainAfter = 30 * time.Second // then a line no longer covers another watch with the same cause
	maxRuleNames  = 10               // Secrets in a logged RBAC rule
)

var (
	// errBackwards ends a stream that delivers an older object after a newer object. Only a quorum read can tell which
	// version is current.
	errBackwards = watchError("backwards", "the watch delivered an older version after a newer version",
		"if this repeats, check for a proxy between this Pod and the API server that mixes up answers")
	// The streams of a watch with errEndsEarly end before stableAfter again and again, with errEndsAtOnce before upAfter.
	// The streams of a watch with errSilent miss changes that lists find. Changes then arrive with lists.
	errEndsEarly  = watchError("ends early", "the watch repeatedly ends early", endsEarlyHint)
	errEndsAtOnce = watchError("ends early", "the watch repeatedly ends right after it opened", endsEarlyHint)
	errSilent     = watchError("silent", "the watch is open and does not deliver changes",
		"check for a proxy between this Pod and the API server that buffers answers")
)

func watchError(cause, text, hint string) *kube.Error {
	resource := kube.Secrets.Resource
	return &kube.Error{Verb: kube.VerbWatch, Resource: resource, Cause: cause, Err: errors.New(text), Hint: hint}
}

// An outage is a cause for which watches are down. It combines their log lines.
type outage struct {
	since, logged time.Time // begin, and time of the last log line
	down, most    int       // number of watches with this cause, and its largest value
}

// setUp marks the watch as up. The last watch of an outage logs its end.
func (w *watch) setUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.outage
	w.state.Up, w.state.DownSince, w.err, w.outage = true, time.Time{}, nil, nil
	if o == nil {
		return
	}
	if o.down--; o.down == 0 {
		duration := time.Since(o.since).Round(time.Millisecond)
		w.logger.Info("watch recovered", "duration", duration.String(), "watches", o.most)
	}
}

// setDown marks the watch as down and adds it to the outage of the cause. A starting API server answers 403 until its
// RBAC rules are loaded, so a first 403 is not logged.
func (w *watch) setDown(e *kube.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.err == nil || w.err.Cause != e.Cause
	if w.err == nil {
		w.state.DownSince = time.Now().UTC()
	}
	w.state.Up, w.err = false, e
	o := w.outages[e.Cause]
	if first && apierrors.IsForbidden(e) || o != nil && o == w.outage {
		return
	}
	if w.outage != nil {
		w.outage.down--
	}
	if o == nil || o.down == 0 {
		o = &outage{since: time.Now()}
		w.outages[e.Cause] = o
	}
	w.outage = o
	w.outage.down++
	w.outage.most = max(w.outage.most, w.outage.down)
	if time.Since(w.outage.logged) >= logAgainAfter {
		w.outage.logged = time.Now()
		w.logDown(e)
	}
}

func (w *watch) logDown(e *kube.Error) {
	attrs := []any{"err", e.Error()}
	if e.Hint != "" {
		attrs = append(attrs, "hint", e.Hint)
	}
	if apierrors.IsForbidden(e) {
		names := w.names // the line covers all watches by name
		if len(names) > maxRuleNames || w.Name == "" {
			names = strings.Fields(w.Name)
		}
		attrs = append(attrs, "rule", kube.MissingRule(e.Verb, names...))
	}
	w.logger.Warn("watch failed, retrying", attrs...)
}
