package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Rules are the options that decide whether a Pod is done.
type Rules struct {
	Secret          string
	Selector        string        // of Pods; "" for every user of the Secret
	IgnoreOthers    bool          // ignore Pods without the sidecar
	RequireNotified bool          // a Pod without a notification target is not done
	SignalGrace     time.Duration // after the signal of a Pod
	StartGrace      time.Duration // for the kubelet to report the start of a container
}

// A tally contains the knowledge about the Pods of a namespace and decides whether all of
// them are done. It performs no input or output and reads no clock: lists, events, answers
// and times come from the caller.
//
// Success requires, in this order: each counted Pod answered that it is done, and its grace
// is over; then a consistent list, begun later, contains no counted Pod without such an
// answer; then a reading of the Secret shows no change of the data (see confirm).
type tally struct {
	Rules
	history  history
	outdated bool // a sidecar reported a version above the newest reading

	pods   map[string]*candidate // by UID
	owners map[string]string     // instance or volume → its container
}

// A candidate is a counted Pod, as far as is known.
type candidate struct {
	pod
	seen   time.Time // when the Pod was first seen
	probes []*probe
}

// A query identifies a sidecar to ask.
type query struct {
	pod
	sidecar
}

func newTally(r Rules, version, changedFrom string) *tally {
	h := history{version: version, changedFrom: changedFrom}
	return &tally{Rules: r, history: h, pods: map[string]*candidate{}, owners: map[string]string{}}
}

func (c *candidate) probe(container string) *probe {
	i := slices.IndexFunc(c.probes, func(p *probe) bool { return p.container == container })
	return c.probes[i]
}

// list replaces the Pods by pods, from a list begun at the given time.
func (t *tally) list(pods []pod, began time.Time) {
	listed := map[string]bool{}
	for _, p := range pods {
		listed[p.uid] = true
		t.put(p, began)
	}
	maps.DeleteFunc(t.pods, func(uid string, _ *candidate) bool { return !listed[uid] })
}

// put stores the new state of a Pod. After a container started once, the Pod stays started,
// even if the kubelet forgets it.
func (t *tally) put(p pod, now time.Time) {
	mayWatch := func(s sidecar) bool { return s.watches != watchesNot }
	if !p.bound || t.Selector == "" && len(p.uses) == 0 && !slices.ContainsFunc(p.sidecars, mayWatch) {
		delete(t.pods, p.uid)
		return
	}
	c := t.pods[p.uid]
	if c == nil {
		c = &candidate{pod: p, seen: now}
		for _, s := range p.sidecars {
			if t.Selector != "" || mayWatch(s) {
				s.watches = watchesMaybe // until it answers
				c.probes = append(c.probes, &probe{sidecar: s, reason: "its sidecar has not answered yet"})
			}
		}
		t.pods[p.uid] = c
	}
	p.unstarted, p.appUnstarted = p.unstarted && c.unstarted, p.appUnstarted && c.appUnstarted
	c.pod = p
}

// remove forgets a Pod. The Pod is gone or no longer matches the selector.
func (t *tally) remove(uid string) { delete(t.pods, uid) }

// read adds a reading of the Secret.
func (t *tally) read(r reading) error {
	t.outdated = false
	return t.history.read(r)
}

// due returns at most limit sidecars to ask now and marks them as being asked. The
// longest-waiting sidecars come first. After a change of the metadata, due also returns
// sidecars that are done, until an answer proves the data unchanged.
func (t *tally) due(now time.Time, limit int) (queries []query) {
	type waiting struct {
		*candidate
		*probe
	}
	var due []waiting
	unchanged := t.history.unchanged()
	for _, c := range t.pods {
		for _, p := range c.probes {
			if !c.unstarted && !(p.done && unchanged) && !p.asking && !now.Before(p.next) {
				due = append(due, waiting{c, p})
			}
		}
	}
	slices.SortFunc(due, func(a, b waiting) int {
		return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.name, b.name), cmp.Compare(a.container, b.container))
	})
	for _, w := range due[:min(limit, len(due))] {
		w.asking = true
		queries = append(queries, query{w.pod, w.sidecar})
	}
	return queries
}

// complete reports whether all counted Pods are done, as far as is known. Without any Pod it
// returns false: the selector may be wrong.
func (t *tally) complete(now time.Time) bool {
	counted := 0
	for _, c := range t.pods {
		switch state, counts := t.state(c, now); {
		case counts && !state.Done:
			return false
		case counts:
			counted++
		}
	}
	return counted > 0 && t.history.unchanged()
}

// confirm decides on a list begun when the tally was complete. The graces of Pods must have
// ended before the list began: the list is their second reading.
func (t *tally) confirm(pods []pod, began time.Time) bool {
	t.list(pods, began)
	return t.complete(began)
}

// final reports whether a Pod cannot become done.
func (t *tally) final(now time.Time) bool {
	for _, c := range t.pods {
		if state, counts := t.state(c, now); counts && state.Final {
			return true
		}
	}
	return false
}

// states returns the states of the counted Pods, by name.
func (t *tally) states(now time.Time) (all []PodState) {
	for _, c := range t.pods {
		if state, counts := t.state(c, now); counts {
			all = append(all, state)
		}
	}
	slices.SortFunc(all, func(a, b PodState) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID)) })
	return all
}

// state returns the state of a Pod, and reports whether the Pod counts.
//
// A Pod without a started container cannot have read anything. Because the kubelet reports a
// start late, this state must last for a grace.
func (t *tally) state(c *candidate, now time.Time) (s PodState, counts bool) {
	s = PodState{Namespace: c.namespace, Name: c.name, UID: c.uid}
	if c.unstarted {
		s.Reason = fmt.Sprintf("no container has started yet (it stops counting after %s, --start-grace)", t.StartGrace)
		return s, now.Sub(c.seen) < t.StartGrace
	}
	var reasons []string
	add := func(reason string, final bool) {
		reasons = append(reasons, reason)
		s.Final = s.Final || final && !c.deleting
	}
	targets, watching, users := 0, 0, len(c.uses)
	for _, p := range c.probes {
		if p.watches == watchesNot {
			continue
		}
		watching++
		targets += p.targets
		if p.done || t.startsWithFiles(c, p, now) {
			continue
		}
		add(t.reason(c, p), false)
	}
	if t.IgnoreOthers {
		users = 0
	}
	for _, u := range c.uses[:users] {
		if problem := u.problem(c.created, t.history.base.changed); problem != "" {
			add(problem, true)
		}
	}
	switch {
	case watching+users == 0 && (t.Selector == "" || t.IgnoreOthers && len(c.probes) == 0):
		return s, false
	case watching+users == 0 && len(c.probes) == 0:
		add("no container runs secret-sync", true)
	case watching+users == 0:
		add("no sidecar watches the Secret", false)
	case watching > 0 && targets == 0 && !c.appUnstarted && len(reasons) == 0:
		s.Unnotified = true
		if t.RequireNotified {
			add("its files are in place, and nobody was notified", true)
		}
	}
	if s.Reason = strings.Join(reasons, "; "); c.deleting && s.Reason != "" {
		s.Reason += " (it is being deleted)"
	}
	s.Done = len(reasons) == 0
	return s, true
}

// reason returns the reason why a sidecar is not done.
func (t *tally) reason(c *candidate, p *probe) string {
	reason := p.reason
	if c.appUnstarted && !p.filesAt.IsZero() {
		reason = fmt.Sprintf("its files are in place, and no container of the app has started yet (it is done after %s, "+
			"--start-grace)", t.StartGrace)
	}
	if len(c.probes) > 1 {
		reason = "container " + p.container + ": " + reason
	}
	return reason
}

// startsWithFiles reports whether the app of the Pod will read the files when it starts: the
// files are in place, and a grace later the kubelet still reports that the app has never
// started.
func (t *tally) startsWithFiles(c *candidate, p *probe, now time.Time) bool {
	return c.appUnstarted && !p.filesAt.IsZero() && now.Sub(p.filesAt) >= t.StartGrace
}
