package watcher

import (
	"log/slog"
	"sync"
	"time"

	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

// upAfter is how long a watch that had an error must be without one to be up
// again. Without this a watch that is opened and ends at once would be up and
// down with each attempt.
const upAfter = 2 * time.Second

// health is whether one watch works. It logs changes of that, not attempts.
type health struct {
	query  query
	logger *slog.Logger
	asked  func() // called at the first answer or error, and later

	mu       sync.Mutex
	working  bool
	err      *kubeapi.Error // nil: none since it was up
	reported bool           // err was logged
	errs     int            // how many there were
	warned   bool           // something was logged since it was up
	since    time.Time      // down
	last     time.Time      // contact
	calm     *time.Timer    // declares it up
	ended    bool
}

func newHealth(q query, logger *slog.Logger, asked func()) *health {
	return &health{query: q, logger: logger, asked: asked}
}

func (h *health) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Status{Watch: h.query.watch(), Up: h.working, LastContact: h.last}
}

// contact notes when the API server was last heard from.
func (h *health) contact(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = now
}

// answered notes that a list was: if no error follows, the watch is up soon.
func (h *health) answered() {
	h.asked()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = time.Now()
	if h.calm != nil {
		h.calm.Stop()
	}
	if !h.working && !h.ended {
		errs := h.errs
		h.calm = time.AfterFunc(upAfter, func() { h.up(errs) })
	}
}

// opened notes that the watch was. It is up at once if it was never down.
func (h *health) opened() {
	h.mu.Lock()
	first, errs := h.err == nil, h.errs
	h.mu.Unlock()
	if first {
		h.up(errs)
	}
}

// up makes the watch up, unless there was an error after that many: a timer that
// fires while it is stopped goes on.
func (h *health) up(errs int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.working || h.ended || errs != h.errs {
		return
	}
	if h.warned {
		h.logger.Info("watch is up again", "dur", time.Since(h.since).Round(time.Millisecond).String())
	} else {
		h.logger.Debug("watch is up")
	}
	h.working, h.err, h.warned = true, nil, false
}

// down makes the watch down. It logs when it was up, or down for another reason.
func (h *health) down(e *kubeapi.Error) {
	h.asked()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calm != nil {
		h.calm.Stop()
	}
	if h.err == nil {
		h.since = time.Now()
	}
	again := h.err != nil && sameError(h.err, e)
	h.reported = h.reported && again
	h.working, h.err = false, e
	h.errs++
	// An API server that starts answers 403 for a moment, before it has read its
	// RBAC rules: one alone is no reason to change a Role.
	early := e.Kind == kubeapi.KindForbidden && !again
	if h.reported || early {
		return
	}
	h.reported, h.warned = true, true
	attrs := []any{"err", e.Error(), "do", e.Advice}
	if e.Kind == kubeapi.KindForbidden {
		attrs = append(attrs, "rule", missingRule(e.Verb, h.query.Name))
	}
	h.logger.Warn("watch is down, will try again", attrs...)
}

// sameError reports whether there is nothing new to log. Which rule a role lacks
// differs with the verb.
func sameError(was, is *kubeapi.Error) bool {
	return is.Kind == was.Kind && (is.Kind != kubeapi.KindForbidden || is.Verb == was.Verb)
}

// stop ends the timer.
func (h *health) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended, h.working = true, false
	if h.calm != nil {
		h.calm.Stop()
	}
}
