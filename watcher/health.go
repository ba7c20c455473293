package watcher

import (
	"log/slog"
	"sync"
	"time"
)

// upAfter is how long a watch that had a fault must be without one to be up
// again. Without it one that is opened and ends at once would be up and down
// with each try.
const upAfter = 2 * time.Second

// health is whether one watch works. It logs changes of that, not tries.
type health struct {
	query  query
	logger *slog.Logger
	asked  func() // called at the first answer or fault, and later

	mu      sync.Mutex
	working bool
	fault   *fault      // nil: none since it was up
	faults  int         // how many there were
	since   time.Time   // of the fault
	last    time.Time   // contact
	calm    *time.Timer // declares it up
	ended   bool
}

func newHealth(q query, logger *slog.Logger, asked func()) *health {
	return &health{query: q, logger: logger, asked: asked}
}

func (h *health) status(watch string) Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Status{Watch: watch, Up: h.working, LastContact: h.last}
}

// contact notes when something was heard of the API server.
func (h *health) contact(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = now
}

// answered notes that a list was: if nothing happens, the watch is up soon.
func (h *health) answered() {
	h.asked()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calm != nil {
		h.calm.Stop()
	}
	if !h.working && !h.ended {
		faults := h.faults
		h.calm = time.AfterFunc(upAfter, func() { h.rise(faults) })
	}
}

// opened notes that the watch was. It is up at once if it was never down.
func (h *health) opened() {
	h.mu.Lock()
	first, faults := h.fault == nil, h.faults
	h.mu.Unlock()
	if first {
		h.rise(faults)
	}
}

// rise makes the watch up, unless there was a fault after that many: a timer
// that fires while it is stopped goes on.
func (h *health) rise(faults int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.working || h.ended || faults != h.faults {
		return
	}
	h.working = true
	if h.fault == nil {
		h.logger.Debug("watch is up")
		return
	}
	h.logger.Info("watch is up again", "dur", time.Since(h.since).Round(time.Millisecond).String())
	h.fault = nil
}

// down makes the watch down. It logs when it was up, or down for another reason.
func (h *health) down(f *fault) {
	h.asked()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calm != nil {
		h.calm.Stop()
	}
	was := h.fault
	if was == nil {
		h.since = time.Now()
	}
	h.working, h.fault = false, f
	h.faults++
	if was != nil && f.same(was) {
		return
	}
	attrs := []any{"err", f.Error(), "do", f.do}
	if rule := f.missing(h.query); rule != "" {
		attrs = append(attrs, "rule", rule)
	}
	h.logger.Warn("watch is down, will try again", attrs...)
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
