package watcher

import (
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/secret-sync/secret-sync/internal/kube"
)

const (
	// upAfter is the time without an error after which a failed watch counts as up.
	// Otherwise a watch would alternate between up and down if it always ends
	// immediately.
	upAfter = 2 * time.Second
	// logAgainAfter is the time after which a log line no longer covers another watch with
	// the same cause.
	logAgainAfter = 30 * time.Second
	// maxRuleNames is the maximum number of Secrets in a logged RBAC rule.
	maxRuleNames = 10
)

// errBackwards is returned when a watch delivers an object older than an earlier object. Only a quorum read can tell which version is current.
var errBackwards = watchError("backwards", "the watch delivered an older version after a newer version",
	"if this repeats, check for a proxy between this Pod and the API server that mixes up answers")

// errEndsEarly and errEndsAtOnce are the states of a watch whose streams end before
// stableAfter or upAfter again and again. Changes arrive with the repeated lists.
var (
	errEndsEarly  = endsEarly("the watch repeatedly ends early")
	errEndsAtOnce = endsEarly("the watch repeatedly ends right after it opened")
)

func endsEarly(text string) *kube.Error {
	return watchError("ends early", text, "check for a proxy between this Pod and the API server that has a "+
		"short timeout or cannot stream")
}

// errSilent is the state of a watch whose streams deliver no events. Changes arrive with
// the repeated lists.
var errSilent = watchError("silent", "the watch is open and does not deliver changes",
	"check for a proxy between this Pod and the API server that buffers answers")

func watchError(cause, text, hint string) *kube.Error {
	resource := kube.Secrets.Resource
	return &kube.Error{Verb: kube.VerbWatch, Resource: resource, Cause: cause, Err: errors.New(text), Hint: hint}
}

// health tracks whether a watch is working. It logs transitions, not individual attempts.
type health struct {
	up      bool        // guarded by shared.mu
	contact time.Time   // guarded by shared.mu; last contact with the API server
	outage  *outage     // guarded by shared.mu; nil if the watch did not fail
	err     *kube.Error // last error since the watch was up, or nil
	since   time.Time   // time of the first error since the watch was up
}

// shared is the common state of the watches of a Watcher.
type shared struct {
	mu      sync.Mutex
	names   []string           // Secrets with a watch by name
	outages map[string]*outage // by cause
}

func newShared(names []string) *shared {
	return &shared{names: names, outages: map[string]*outage{}}
}

// An outage is a cause for which watches are down. It combines their log lines.
type outage struct {
	cause  string
	since  time.Time
	logged time.Time // time of the last log line
	down   int       // number of watches with this cause
	most   int       // largest value of down
}

// An evidence is an observation of a working watch.
type evidence int

const (
	evidenceOpened    evidence = iota // the server opened the watch
	evidenceLasted                    // no error occurred for upAfter
	evidenceStable                    // no error occurred for stableAfter
	evidenceDelivered                 // the watch delivered news and stayed open
)

// required returns the evidence for the end of the current error.
func (h *health) required() evidence {
	switch h.err {
	case errSilent:
		return evidenceDelivered
	case errEndsEarly:
		return evidenceStable
	}
	return evidenceLasted
}

// silent reports whether the watch does not deliver events.
func (h *health) silent() bool { return h.err == errSilent }

// setUp marks the watch as up. After an error, it does so only for the required evidence.
// The last watch of an outage logs its end.
func (w *watch) setUp(e evidence) {
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	if w.up || w.err != nil && e != w.required() {
		return
	}
	w.up, w.err = true, nil
	o := w.leaveOutage()
	switch {
	case o == nil:
		w.logger.Debug("watch connected")
	case o.down == 0:
		w.logger.Info("watch recovered", "duration", time.Since(o.since).Round(time.Millisecond).String(), "watches", o.most)
	}
}

// setDown marks the watch as down and adds it to the outage of the cause. A starting API
// server answers 403 until its RBAC rules are loaded, so a first 403 is not logged.
func (w *watch) setDown(e *kube.Error) {
	w.firstDone()
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	early := apierrors.IsForbidden(e) && (w.err == nil || cause(w.err) != cause(e))
	if w.err == nil {
		w.since = time.Now()
	}
	w.up, w.err = false, e
	if early || w.outage != nil && w.outage.cause == cause(e) {
		return
	}
	w.leaveOutage()
	if w.joinOutage(cause(e)) {
		w.logDown(e)
	}
}

// cause returns the cause of an outage. The missing rule of a Role depends on the verb.
func cause(e *kube.Error) string {
	if apierrors.IsForbidden(e) {
		return e.Cause + " " + e.Verb
	}
	return e.Cause
}

// joinOutage adds the watch to an outage and reports whether to log it.
func (w *watch) joinOutage(cause string) bool {
	o := w.shared.outages[cause]
	if o == nil {
		o = &outage{cause: cause, since: w.since}
		w.shared.outages[cause] = o
	}
	o.down++
	o.most = max(o.most, o.down)
	w.outage = o
	if time.Since(o.logged) < logAgainAfter {
		return false
	}
	o.logged = time.Now()
	return true
}

// leaveOutage removes the watch from its outage, if any, and returns it.
func (w *watch) leaveOutage() *outage {
	o := w.outage
	if w.outage = nil; o == nil {
		return nil
	}
	if o.down--; o.down == 0 {
		delete(w.shared.outages, o.cause)
	}
	return o
}

func (w *watch) logDown(e *kube.Error) {
	attrs := []any{"err", e.Error()}
	if e.Hint != "" {
		attrs = append(attrs, "hint", e.Hint)
	}
	if apierrors.IsForbidden(e) {
		attrs = append(attrs, "rule", kube.MissingRule(e.Verb, w.forbidden()...))
	}
	w.logger.Warn("watch failed, retrying", attrs...)
}

// forbidden returns the names for the missing rule, none for every Secret. The rule covers
// all Secrets with a watch by name, because a line covers all of their watches.
func (w *watch) forbidden() []string {
	switch {
	case w.Name == "":
		return nil
	case len(w.shared.names) > maxRuleNames:
		return []string{w.Name}
	}
	return w.shared.names
}
