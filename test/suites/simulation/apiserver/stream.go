package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A stream is an open watch. While the server is unreliable, the stream loses, repeats,
// delays and reorders events, or stays silent forever, like a watch from before
// a restore of etcd.
type stream struct {
	*Server
	query
	w      http.ResponseWriter
	ctx    context.Context
	from   int // the first version
	next   int // index in the log
	silent bool
	ended  chan struct{}
}

func (s *Server) stream(w http.ResponseWriter, ctx context.Context, q query) {
	from, _ := strconv.Atoi(q.version)
	st := &stream{Server: s, query: q, w: w, ctx: ctx, from: from, next: s.Store.after(from)}
	s.mu.Lock()
	st.ended = s.cutting
	st.silent = s.unreliable && s.Dice("silent", q.name) < 0.1
	// A real server ends a watch after the requested time. A random time would not depend on
	// the seed alone.
	last := 5*time.Minute + time.Duration(s.Dice("lasts", q.name)*float64(5*time.Minute))
	if q.timeout < 5*time.Minute {
		last = q.timeout
	}
	s.mu.Unlock()
	_ = http.NewResponseController(w).Flush()
	st.run(last)
}

// after returns the index of the first event after a version.
func (s *Store) after(version int) (next int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for next < len(s.log) && s.log[next].version <= version {
		next++
	}
	return next
}

// change returns a channel that is closed at the next event.
func (s *Store) change() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *stream) run(last time.Duration) {
	end := time.NewTimer(last)
	defer end.Stop()
	// A real server sends a bookmark every minute and two seconds before the end.
	bookmark := time.NewTicker(time.Minute)
	defer bookmark.Stop()
	lastBookmark := time.NewTimer(last - 2*time.Second)
	defer lastBookmark.Stop()
	for {
		changed := s.Store.change()
		if !s.silent && !s.deliver() {
			return
		}
		select {
		case <-s.ctx.Done():
			return
		case <-s.ended:
			return
		case <-end.C:
			return
		case <-changed:
		case <-bookmark.C:
			s.bookmark()
		case <-lastBookmark.C:
			s.bookmark()
		}
	}
}

// deliver sends the new events. It reports false if the stream ended.
func (s *stream) deliver() bool {
	for {
		e, fault, ok := s.nextEvent()
		var follows event
		if fault == "swap" {
			var more bool
			if follows, _, more = s.nextEvent(); !more {
				fault = ""
			}
		}
		if !ok {
			return true
		}
		switch fault {
		case "skip":
		case "late":
			if !s.pause(s.lateness(e)) {
				return false
			}
			s.send(e)
		case "repeat":
			s.send(e)
			s.send(e)
		case "old":
			s.send(e)
			s.sendOld(e)
		case "swap":
			s.send(follows)
			s.send(e)
		default:
			s.send(e)
		}
	}
}

// nextEvent returns the next event for this watch and its fault.
func (s *stream) nextEvent() (e event, fault string, ok bool) {
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	for s.next < len(s.Store.log) {
		e = s.Store.log[s.next]
		s.next++
		if !s.matches(e.before) && !s.matches(e.after) {
			continue
		}
		return e, s.fault(e), true
	}
	return event{}, "", false
}

// fault chooses the fault of an event; "" means none.
func (s *stream) fault(e event) (fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unreliable {
		return ""
	}
	faults := []string{"skip", "late", "repeat", "old", "swap"}
	if d := s.Dice("event", s.name, e.version); d < 0.5 {
		fault = faults[int(d*10)]
		s.Tracef("API: watch %s, event %d: %s", s.name, e.version, fault)
	}
	return fault
}

func (s *stream) lateness(e event) time.Duration {
	return time.Duration(s.Dice("late", s.name, e.version) * float64(40*time.Second))
}

func (s *stream) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
	case <-s.ended:
	}
	return false
}

func (s *stream) send(e event) {
	kind, o := "MODIFIED", e.after
	switch {
	case !s.matches(e.after):
		gone := *e.before
		if e.after != nil {
			gone = *e.after
		}
		gone.Version = e.version
		kind, o = "DELETED", &gone
	case !s.matches(e.before):
		kind = "ADDED"
	}
	s.write(kind, o.json())
}

// sendOld repeats an earlier event of the same Secret.
func (s *stream) sendOld(e event) {
	if old := s.old(e); old != nil {
		s.send(*old)
	}
}

func (s *stream) old(e event) (old *event) {
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	for _, o := range s.Store.log {
		if o.version < e.version && o.name() == e.name() && (s.matches(o.before) || s.matches(o.after)) {
			old = &o
		}
	}
	return old
}

// bookmark sends the version up to which all events were sent. Versions belong to the whole
// cluster, so they increase all the time.
func (s *stream) bookmark() {
	if s.silent {
		return
	}
	version := s.upTo()
	s.write(
		"BOOKMARK",
		map[string]any{"kind": "Secret", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": version}},
	)
}

func (s *stream) upTo() string {
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	switch {
	case s.next == len(s.Store.log):
		s.Store.version++
		return fmt.Sprint(s.Store.version)
	case s.next > 0:
		return fmt.Sprint(max(s.from, s.Store.log[s.next-1].version))
	}
	return s.version
}

func (s *stream) write(kind string, object any) {
	writeJSON(s.w, map[string]any{"type": kind, "object": object})
	_ = http.NewResponseController(s.w).Flush()
}
