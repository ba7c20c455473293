package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// cut returns the kind of an event: its name without the Pod.
func cut(name string) (kind, pod string, found bool) { return strings.Cut(name, " of ") }

// worldEvents returns the events of the cluster that can happen next, by name.
func (w world) worldEvents() map[string]func(*world) {
	events := map[string]func(*world){}
	if w.changes < 2 {
		events["change"] = func(w *world) { w.change('b' + byte(w.changes) + 1) }
		events["label"] = func(w *world) { w.change(w.secret.data) }
		events["restore"] = func(w *world) { w.restore() }
		if before := w.versions[max(0, len(w.versions)-2)].data; before != w.secret.data {
			events["change back"] = func(w *world) { w.change(before) }
		}
	}
	for i := range w.pods {
		w.podEventsOf(i, events)
		for j := range w.pods[i].sidecars {
			w.sidecarEvents(i, j, events)
		}
	}
	return events
}

// podEventsOf adds the events of Pod i. A change that the API server shows is also an event
// of the watch.
func (w world) podEventsOf(i int, events map[string]func(*world)) {
	p := w.pods[i]
	add := func(name string, enabled, visible bool, change func(*modelPod, world)) {
		if !enabled {
			return
		}
		events[name+" of "+p.uid] = func(w *world) {
			change(&w.pods[i], *w)
			if visible {
				w.podEvents = append(w.podEvents, podEvent{w.pods[i].object(), !w.pods[i].bound})
			}
		}
	}
	isNew := !p.bound && !p.deleting
	add("create", isNew, true, func(p *modelPod, w world) { p.bound, p.created = true, w.now })
	add("start", p.bound && !p.started, false, func(p *modelPod, w world) {
		for i := range p.sidecars {
			p.sidecars[i].start(w.secret)
			p.sidecars[i].app = p.sidecars[i].files
		}
		p.started, p.appStarted = true, true
	})
	add("start app", p.bound && p.started && !p.appStarted, false, func(p *modelPod, _ world) {
		for i := range p.sidecars {
			p.sidecars[i].app = p.sidecars[i].files
		}
		p.appStarted = true
	})
	unreported := p.started != p.reported || p.appStarted != p.appReported
	add("report", p.bound && unreported, true,
		func(p *modelPod, _ world) { p.reported, p.appReported = p.started, p.appStarted })
	add("forget", p.reported, true, func(p *modelPod, _ world) {
		p.reported, p.appReported, p.forgotten = false, false, true
	})
	add("forget app", p.appReported, true, func(p *modelPod, _ world) {
		p.appReported, p.forgotten = false, true
	})
	add("delete", p.bound && !p.deleting, true, func(p *modelPod, _ world) { p.deleting = true })
	add("gone", p.bound && p.deleting, true, func(p *modelPod, _ world) {
		p.bound = false
		for i := range p.sidecars {
			p.sidecars[i].running, p.sidecars[i].up = false, false
		}
	})
}

// sidecarEvents adds the events of sidecar j of Pod i.
func (w world) sidecarEvents(i, j int, events map[string]func(*world)) {
	p := w.pods[i]
	s := p.sidecars[j]
	add := func(name string, enabled bool, change func(*modelSidecar, world)) {
		if enabled && p.bound && !p.reader {
			name := fmt.Sprintf("%s of %s%d", name, p.uid, j)
			events[name] = func(w *world) { change(&w.pods[i].sidecars[j], *w) }
		}
	}
	next := slices.IndexFunc(w.versions, func(v secretVersion) bool { return v.rv > s.have.rv })
	add("event", s.running && s.up && next >= 0, func(s *modelSidecar, w world) { s.event(w.versions[next]) })
	add("disconnect", s.running && s.up, func(s *modelSidecar, _ world) { s.up = false })
	add("reconnect", s.running && !s.up, func(s *modelSidecar, w world) { s.list(w.secret) })
	add("publish", s.running && s.generation > 0 && s.have.data != s.files,
		func(s *modelSidecar, _ world) { s.publish() })
	add("notify", s.running && p.appStarted && s.notified != s.generation,
		func(s *modelSidecar, _ world) { s.notify(p.signaled) })
	add("handle signal", s.pending, func(s *modelSidecar, _ world) { s.app, s.pending = s.files, false })
	add("withdraw", s.pending && s.running,
		func(s *modelSidecar, _ world) { s.notified, s.pending = s.generation-1, false })
	add("kill", s.running, func(s *modelSidecar, _ world) { s.running, s.up = false, false })
	add("restart", !s.running && p.started, func(s *modelSidecar, w world) { s.start(w.secret) })
	// Somebody empties the volume of a killed sidecar. The record of the notifications may
	// remain, with numbers of the lost generations; or all records are lost, and the sidecar
	// notifies all targets again.
	add("empty volume", !s.running && s.generation > 0 && s.notified > 0, func(s *modelSidecar, _ world) {
		s.generation, s.notified = 0, 5
	})
	add("lose records", !s.running && s.generation > 0 && s.notified > 0,
		func(s *modelSidecar, _ world) { s.notified = 0 })
}

// waitEvents returns the events of the wait that can happen next, by name. anyone reports
// whether another sidecar can answer at the address of a sidecar.
func (w world) waitEvents(anyone bool) map[string]func(*world) {
	events := map[string]func(*world){}
	if len(w.podEvents) > 0 {
		events["pod event"] = func(w *world) { w.deliver() }
		events["list"] = func(w *world) { w.list() }
	}
	if last := w.tally.history.last; last.version != fmt.Sprint(w.secret.rv) || last.data != uint64(w.secret.data) {
		events["read"] = func(w *world) { w.read() }
	}
	if len(w.answers) < 2 {
		events["ask"] = func(w *world) { w.ask(w.answerer) }
		for i := range w.pods {
			for j := range w.pods[i].sidecars {
				if anyone {
					events[fmt.Sprintf("ask, answered by %s%d", w.pods[i].uid, j)] = func(w *world) {
						w.ask(func(query) (int, int) { return i, j })
					}
				}
			}
		}
	}
	for i := range w.answers {
		events[fmt.Sprint("answer ", i)] = func(w *world) { w.answer(i) }
	}
	if w.ages() && w.settled() && w.now.Before(began.Add(3*time.Hour)) {
		events["time"] = func(w *world) { w.now = w.now.Add(time.Hour) }
	}
	if w.confirming {
		events["confirm: read"] = func(w *world) {
			w.read()
			w.confirming, w.succeeded = false, w.tally.complete(w.now)
		}
	} else if w.tally.complete(w.now) {
		events["confirm: list"] = func(w *world) { w.confirming = w.tally.confirm(w.objects(), w.now) }
	}
	return events
}

// list is a list of the Pods, after the watch missed events.
func (w *world) list() {
	w.podEvents = nil
	w.tally.replace(w.objects(), w.now)
}

// settled reports whether the assumptions behind the graces hold, so that time can pass:
// each start was reported, unless the Pod shows that another container has started or may have
// started, and no signal is pending.
func (w world) settled() bool {
	for _, p := range w.pods {
		reported := p.started == p.reported && p.appStarted == p.appReported ||
			p.prepared || p.unreported || p.forgotten
		if p.bound && !reported {
			return false
		}
		for _, s := range p.sidecars {
			if p.bound && s.pending {
				return false
			}
		}
	}
	return true
}

// ages reports whether a decision of the tally depends on the time.
func (w world) ages() bool {
	for _, p := range w.pods {
		if p.bound && (p.signaled || p.reader || !p.reported || !p.appReported) {
			return true
		}
	}
	return false
}

func (w *world) objects() (pods []*pod) {
	for _, p := range w.pods {
		if p.bound {
			pods = append(pods, p.object())
		}
	}
	return pods
}

func (w *world) read() {
	w.tally.history.read(reading{uid: "u", version: fmt.Sprint(w.secret.rv), data: uint64(w.secret.data),
		changed: began})
	w.ended = w.tally.history.ended != nil
	if w.wanted == 0 && w.unwanted == 0 {
		w.wanted = w.secret.data
	}
}

func (w *world) deliver() {
	e := w.podEvents[0]
	w.podEvents = w.podEvents[1:]
	if e.gone {
		delete(w.tally.pods, e.pod.UID)
	} else {
		w.tally.store(fresh(*e.pod), w.now)
	}
}

// answerer returns the sidecar that a query is for.
func (w *world) answerer(q query) (i, j int) {
	i = slices.IndexFunc(w.pods, func(p modelPod) bool { return p.uid == q.UID })
	_, _ = fmt.Sscan(q.container, &j)
	return i, j
}

// ask asks the next sidecar that is due. The answer is the document of now.
func (w *world) ask(answerer func(query) (i, j int)) {
	for _, q := range w.tally.due(w.now, 1) {
		i, j := answerer(q)
		if p := w.pods[i]; p.bound && p.sidecars[j].running {
			w.answers = append(w.answers, inflight{q, p.document(j)})
		} else {
			w.tally.answer(q, nil, errLost, w.now, 0)
		}
	}
}

func (w *world) answer(i int) {
	a := w.answers[i]
	w.answers = slices.Delete(w.answers, i, i+1)
	w.tally.answer(a.query, a.document, nil, w.now, 0)
	w.ended = w.tally.history.ended != nil
}
