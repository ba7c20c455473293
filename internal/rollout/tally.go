package rollout

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
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

// A tally contains the knowledge about the Pods of a namespace and decides whether all of them are done. It performs
// no input or output and reads no clock: lists, events, answers and times come from the caller.
//
// Success requires, in this order: each counted Pod answered that it is done, and its grace is over; then a
// consistent list, begun later, contains no counted Pod without such an answer; then a reading of the Secret shows no
// change of the data (see confirm).
type tally struct {
	Rules
	history history
	pods    map[string]*pod // the counted Pods, by UID
}

// A PodState is the state of a counted Pod.
type PodState struct {
	Namespace  string                      `json:"namespace"`
	Name       string                      `json:"name"`
	UID        string                      `json:"uid"`
	Done       bool                        `json:"done"`
	Reason     string                      `json:"reason,omitempty"`     // why it is not done
	Final      bool                        `json:"final,omitempty"`      // it cannot become done
	Unnotified bool                        `json:"unnotified,omitempty"` // it is done without any notification target
	Created    time.Time                   `json:"created"`
	Sidecars   map[string]*status.Document `json:"sidecars,omitempty"` // of a Survey; nil without a valid answer
}

// A query identifies a sidecar to ask.
type query struct {
	*pod
	*probe
}

func newTally(r Rules, version, changedFrom string) *tally {
	return &tally{Rules: r, history: history{version: version, changedFrom: changedFrom}, pods: map[string]*pod{}}
}

// replace replaces the Pods by pods, from a list begun at the given time.
func (t *tally) replace(pods []*pod, began time.Time) {
	listed := map[string]bool{}
	for _, p := range pods {
		listed[p.UID] = true
		t.store(p, began)
	}
	maps.DeleteFunc(t.pods, func(uid string, _ *pod) bool { return !listed[uid] })
}

// store replaces the state of a Pod and keeps the knowledge about it. After a container started once, the Pod stays
// started, even if the kubelet forgets it.
func (t *tally) store(p *pod, now time.Time) {
	if !p.bound || t.Selector == "" && len(p.uses)+len(p.probes) == 0 {
		delete(t.pods, p.UID)
		return
	}
	p.seen = now
	if old := t.pods[p.UID]; old != nil {
		p.seen, p.probes = old.seen, old.probes
		p.unstarted, p.appUnstarted = p.unstarted && old.unstarted, p.appUnstarted && old.appUnstarted
	}
	t.pods[p.UID] = p
}

// due returns at most limit sidecars to ask now, longest-waiting first, and marks them as being asked. After a change
// of the metadata, due also returns sidecars that are done, until an answer proves the data unchanged.
func (t *tally) due(now time.Time, limit int) (due []query) {
	unchanged := t.history.problem() == ""
	for _, p := range t.pods {
		for _, s := range p.probes {
			if !p.unstarted && !(s.reason == "" && unchanged) && !s.asking && !now.Before(s.next) {
				due = append(due, query{p, s})
			}
		}
	}
	slices.SortFunc(due, func(a, b query) int {
		return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.Name, b.Name), cmp.Compare(a.container, b.container))
	})
	due = due[:min(limit, len(due))]
	for _, q := range due {
		q.asking = true
	}
	return due
}

// complete reports whether all counted Pods are known to be done. Without a Pod, the selector may be wrong.
func (t *tally) complete(now time.Time) bool {
	states := t.states(now)
	pending := slices.ContainsFunc(states, func(s PodState) bool { return !s.Done })
	return len(states) > 0 && !pending && t.history.problem() == ""
}

// confirm decides on a list begun when the tally was complete. The graces of Pods must have ended before the list
// began: the list is their second reading.
func (t *tally) confirm(pods []*pod, began time.Time) bool {
	t.replace(pods, began)
	return t.complete(began)
}

func (t *tally) final(now time.Time) bool {
	return slices.ContainsFunc(t.states(now), func(s PodState) bool { return s.Final })
}

func (t *tally) states(now time.Time) (all []PodState) {
	byName := func(a, b *pod) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID)) }
	for _, p := range slices.SortedFunc(maps.Values(t.pods), byName) {
		if s, counts := t.state(p, now); counts {
			all = append(all, s)
		}
	}
	return all
}

// state returns the state of a Pod, and reports whether the Pod counts. A Pod without a started container cannot have
// read anything. Because the kubelet reports a start late, this state must last for a grace.
func (t *tally) state(p *pod, now time.Time) (s PodState, counts bool) {
	if s = p.PodState; p.unstarted {
		s.Reason = "no container has started yet; it counts before the grace ends (--start-grace)"
		return s, now.Sub(p.seen) < t.StartGrace
	}
	reasons, watching, targets := t.sidecars(p, now)
	users := watching
	if !t.IgnoreOthers {
		users += len(p.uses)
		for _, u := range p.uses {
			if problem := u.problem(p.Created, t.history.last.changed); problem != "" {
				reasons, s.Final = append(reasons, problem), true
			}
		}
	}
	switch {
	case users == 0 && (t.Selector == "" || t.IgnoreOthers && len(p.probes) == 0):
		return s, false
	case users == 0:
		reasons, s.Final = append(reasons, "no sidecar watches the Secret"), len(p.probes) == 0
	case watching > 0 && targets == 0 && !p.appUnstarted && len(reasons) == 0:
		if s.Unnotified = true; t.RequireNotified {
			reasons, s.Final = append(reasons, "its files are in place, and nobody was notified"), true
		}
	}
	if s.Done = len(reasons) == 0; p.deleting && !s.Done {
		reasons, s.Final = append(reasons, "it is being deleted"), false
	}
	s.Reason = strings.Join(reasons, "; ")
	return s, true
}

// sidecars returns the reasons why sidecars of a Pod are not done, and the numbers of sidecars that watch the Secret
// and of their targets. An app that has never started will read the files when it starts. The files must be in place,
// and a grace later the kubelet must still report that the app has not started.
func (t *tally) sidecars(p *pod, now time.Time) (reasons []string, watching, targets int) {
	for _, s := range p.probes {
		if s.notWatching {
			continue
		}
		watching++
		targets += s.targets
		reason := s.reason
		if p.appUnstarted && !s.filesAt.IsZero() {
			reason = "no container of the app has started yet; not done before the grace ends (--start-grace)"
			if now.Sub(s.filesAt) >= t.StartGrace {
				continue
			}
		}
		if reason != "" && len(p.probes) > 1 {
			reason = "container " + s.container + ": " + reason
		}
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	return reasons, watching, targets
}
