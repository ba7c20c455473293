package simulation

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// stream is one open watch. While the world's events are unreliable it skips,
// repeats, delays and reorders them, or is silent for ever, as a watch is from
// before a restore of etcd.
type stream struct {
	*server
	query
	w      http.ResponseWriter
	ctx    context.Context
	from   int // the version that it begins at
	next   int // index in the log
	silent bool
	ended  chan struct{}
}

func (s *server) stream(w http.ResponseWriter, ctx context.Context, q query) {
	from, _ := strconv.Atoi(q.rv)
	st := &stream{server: s, query: q, w: w, ctx: ctx, from: from}
	s.mu.Lock()
	for st.next < len(s.truth.log) && s.truth.log[st.next].rv <= from {
		st.next++
	}
	st.ended = s.cutting
	st.silent = s.unreliable && s.dice("silent", q.name) < 0.1
	// A real one ends a watch after the 5 to 10 minutes that it is asked for.
	last := 5*time.Minute + time.Duration(s.dice("lasts", q.name)*float64(5*time.Minute))
	s.mu.Unlock()
	_ = http.NewResponseController(w).Flush()
	st.run(last)
}

func (s *stream) run(last time.Duration) {
	end := time.NewTimer(last)
	defer end.Stop()
	bookmark := time.NewTicker(time.Minute)
	defer bookmark.Stop()
	for {
		s.mu.Lock()
		changed := s.truth.changed
		s.mu.Unlock()
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
			if !s.silent {
				s.bookmark()
			}
		}
	}
}

// deliver sends what is new. It reports false when the stream has ended meanwhile.
func (s *stream) deliver() bool {
	for {
		s.mu.Lock()
		e, fault, ok := s.take()
		var follows event
		if fault == "swap" {
			var more bool
			if follows, _, more = s.take(); !more {
				fault = ""
			}
		}
		s.mu.Unlock()
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

// take gives the next event that the watch asks for, and what goes wrong with it.
func (s *stream) take() (e event, fault string, ok bool) {
	for s.next < len(s.truth.log) {
		e = s.truth.log[s.next]
		s.next++
		if !s.matches(e.before) && !s.matches(e.after) {
			continue
		}
		return e, s.fault(e), true
	}
	return event{}, "", false
}

// fault decides what goes wrong with an event; "" for nothing.
func (s *stream) fault(e event) (fault string) {
	if !s.unreliable {
		return ""
	}
	faults := []string{"skip", "late", "repeat", "old", "swap"}
	if d := s.dice("event", s.name, e.rv); d < 0.5 {
		fault = faults[int(d*10)]
		s.tracef("API: watch %s, event %d: %s", s.name, e.rv, fault)
	}
	return fault
}

func (s *stream) lateness(e event) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.dice("late", s.name, e.rv) * float64(40*time.Second))
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
		gone.rv = e.rv
		kind, o = "DELETED", &gone
	case !s.matches(e.before):
		kind = "ADDED"
	}
	s.write(kind, o.json())
}

// sendOld sends an event of the same Secret from before this one once more.
func (s *stream) sendOld(e event) {
	s.mu.Lock()
	var old *event
	for i := range s.truth.log {
		if o := &s.truth.log[i]; o.rv < e.rv && o.name() == e.name() && (s.matches(o.before) || s.matches(o.after)) {
			old = o
		}
	}
	s.mu.Unlock()
	if old != nil {
		s.send(*old)
	}
}

// bookmark says up to which version all was sent. Versions are those of the whole
// cluster, where something changes all the time.
func (s *stream) bookmark() {
	s.mu.Lock()
	rv := s.rv
	switch {
	case s.next == len(s.truth.log):
		s.truth.rv++
		rv = fmt.Sprint(s.truth.rv)
	case s.next > 0:
		rv = fmt.Sprint(max(s.from, s.truth.log[s.next-1].rv))
	}
	s.mu.Unlock()
	s.write("BOOKMARK", map[string]any{"kind": "Secret", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": rv}})
}

func (s *stream) write(kind string, object any) {
	writeJSON(s.w, map[string]any{"type": kind, "object": object})
	_ = http.NewResponseController(s.w).Flush()
}
