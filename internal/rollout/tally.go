package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/status"
)

// PodState is how far one Pod is.
type PodState struct {
	Name   string `json:"name"`
	UID    string `json:"uid"`
	Done   bool   `json:"done"`
	Reason string `json:"reason,omitempty"` // why it is not done
}

// tally is what is known of the Pods, and decides when all are done. It knows no
// network and no clock: the caller gives it lists, events, answers and times.
//
// A yes needs, in this order: each Pod that counts has answered that it is done, and
// the signal's grace is over; then a consistent list of Pods, begun after both, has
// no Pod that counts and is not done (see confirm). Answers need not be repeated for
// that: generations and versions of one Pod only grow.
type tally struct {
	version      Version
	ignoreOthers bool
	grace        time.Duration

	pods       map[string]*candidate // those that count, by UID
	graceUntil time.Time             // a signal may be under way in an app
}

type candidate struct {
	PodState // as of the last answer
	pod      pod
	role     role
	asking   bool
	next     time.Time // not to be asked before
}

func newTally(v Version, ignoreOthers bool, grace time.Duration) *tally {
	return &tally{version: v, ignoreOthers: ignoreOthers, grace: grace, pods: map[string]*candidate{}}
}

// list takes a list of all Pods: a Pod that is not in it is gone.
func (t *tally) list(pods []pod) {
	listed := map[string]bool{}
	for _, p := range pods {
		listed[p.Metadata.UID] = true
		t.put(p)
	}
	maps.DeleteFunc(t.pods, func(uid string, _ *candidate) bool { return !listed[uid] })
}

// put takes the new state of one Pod.
func (t *tally) put(p pod) {
	uid, role := p.Metadata.UID, p.role()
	if role == absent || role == noSidecar && t.ignoreOthers {
		delete(t.pods, uid)
		return
	}
	if t.pods[uid] == nil {
		t.pods[uid] = &candidate{PodState: PodState{Name: p.Metadata.Name, UID: uid, Reason: "it has not answered yet"}}
	}
	t.pods[uid].pod, t.pods[uid].role = p, role
}

// apply takes an event of the watch. Deleted is a Pod that is gone, or does not match
// the selector any more.
func (t *tally) apply(e kube.Event[pod]) {
	switch e.Type {
	case watch.Added, watch.Modified:
		t.put(e.Object)
	case watch.Deleted:
		delete(t.pods, e.Object.Metadata.UID)
	}
}

// due marks the Pods that are to be asked now as being asked and returns them,
// those first that wait longest, at most that many.
func (t *tally) due(now time.Time, most int) (pods []pod) {
	var due []*candidate
	for _, c := range t.pods {
		if c.role == sidecar && !c.Done && !c.asking && !now.Before(c.next) {
			due = append(due, c)
		}
	}
	slices.SortFunc(due, func(a, b *candidate) int {
		return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.Name, b.Name))
	})
	for _, c := range due[:min(most, len(due))] {
		c.asking = true
		pods = append(pods, c.pod)
	}
	return pods
}

// answer takes what a Pod answered, or why it did not. It is asked again after
// pause, unless it is done.
func (t *tally) answer(uid string, d *status.Document, err error, now time.Time, pause time.Duration) {
	c := t.pods[uid]
	if c == nil {
		return // gone meanwhile
	}
	c.asking, c.next = false, now.Add(pause)
	switch {
	case err != nil:
		c.Reason = err.Error()
	case d.Pod != "" && d.Pod != c.Name:
		c.Reason = fmt.Sprintf("Pod %q answers at its address", d.Pod)
	default:
		c.Reason = t.version.missingIn(d)
	}
	c.Done = c.Reason == ""
	if c.Done && signalled(d) {
		t.graceUntil = now.Add(t.grace)
	}
}

// complete reports whether all that count are done, as far as is known, and the grace
// is over. No Pod at all is not a yes: the selector may be wrong.
func (t *tally) complete(now time.Time) bool {
	for _, c := range t.pods {
		if !c.Done {
			return false
		}
	}
	return len(t.pods) > 0 && !now.Before(t.graceUntil)
}

// confirm decides on a list that was begun when all was complete: true is the yes.
func (t *tally) confirm(pods []pod, now time.Time) bool {
	t.list(pods)
	return t.complete(now)
}

// withoutSidecar names a Pod that runs for good without the sidecar, "" if there is
// none. It never becomes done, unlike a Pod that is being deleted.
func (t *tally) withoutSidecar() string {
	for _, c := range t.pods {
		if c.role == noSidecar && c.pod.Metadata.DeletionTimestamp == "" {
			return c.Name
		}
	}
	return ""
}

// states lists the Pods that count, by name.
func (t *tally) states() (all []PodState) {
	for _, c := range t.pods {
		s := c.PodState
		if c.role == noSidecar {
			s.Reason = "it has no container of secret-sync"
		}
		if c.pod.Metadata.DeletionTimestamp != "" && !s.Done {
			s.Reason += " (it is being deleted)"
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b PodState) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID)) })
	return all
}
