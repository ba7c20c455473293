package rollout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

// grace is the length of every grace in the model. An hour passes at a time.
const grace = time.Minute

// began is the time of the last data change before the wait.
var began = time.Unix(1_000_000, 0)

// A world is a state of the model.
type world struct {
	secret   secretVersion   // the current version in the API server
	versions []secretVersion // all versions of this history, oldest first
	pods     []modelPod
	changes  int // of the Secret, so far

	tally      *tally
	now        time.Time
	podEvents  []podEvent // of the watch of the Pods, not delivered yet
	answers    []inflight
	confirming bool // the last list succeeded, and the last reading follows

	succeeded, ended bool
	changed          bool   // the data changed after the wait knew its version
	wanted           byte   // the data that the wait is for, 0 if it is not fixed
	unwanted         byte   // the data of --changed-from
	path             string // the events that led here
}

// A secretVersion is a version of the Secret.
type secretVersion struct {
	rv   int
	data byte
}

// A podEvent is a watch event of a Pod, which shows the Pod at an earlier time.
type podEvent struct {
	pod  *pod
	gone bool
}

// An inflight is an answer on its way: the document as it was when the sidecar was asked.
type inflight struct {
	query    query
	document *status.Document
}

// newWorld returns a world after the change of the data from a to b.
func newWorld(r Rules, pods ...modelPod) world {
	r.Secret, r.Selector, r.StartGrace = "db", "app=shop", grace
	versions := []secretVersion{{1, 'a'}, {2, 'b'}}
	return world{
		versions: versions, secret: versions[1], pods: pods,
		tally: newTally(r, "", ""), now: began.Add(time.Second),
	}
}

// waitForVersion makes the wait one for version 2, with --version.
func (w world) waitForVersion() world {
	w.tally = newTally(w.tally.Rules, "2", "")
	w.wanted = 'b'
	return w
}

// waitForChange makes the wait one for a change from version 2, with --changed-from.
func (w world) waitForChange() world {
	w.tally = newTally(w.tally.Rules, "", "2")
	w.unwanted = 'b'
	return w
}

// document returns the answer of sidecar i.
func (p modelPod) document(i int) *status.Document {
	s, target := p.sidecars[i], "webhook"
	if p.signaled {
		target = "process"
	}
	have := s.observed.secret()
	return &status.Document{
		Namespace: "shop", Pod: "pod-" + p.uid, PodUID: p.uid, Generation: s.generation, Complete: true,
		Instance: fmt.Sprint(p.uid, i, "#", s.instance), Volume: fmt.Sprint("volume", i),
		Secrets: map[string]status.Secret{"db": {
			Present: true, UID: "u", ResourceVersion: have.ResourceVersion, DataSince: have.DataSince,
			PreviousData: have.PreviousData, Generation: s.generation,
		}},
		Targets: []status.Target{{Name: target, Notified: s.notified, Successes: s.successes}},
		Watches: []status.Watch{{Name: "secret/db", Up: s.up}},
	}
}

// change writes a version of the Secret.
func (w *world) change(data byte) {
	w.changes++
	w.changed = w.changed || data != w.secret.data && w.knowsVersion()
	w.secret = secretVersion{w.secret.rv + 1, data}
	w.versions = append(w.versions, w.secret)
}

// knowsVersion reports whether the wait knows the version that it is for.
func (w *world) knowsVersion() bool { return w.tally.history.version != "" }

// restore restores the backup of version 1. All connections break.
func (w *world) restore() {
	w.changes++
	w.changed = w.changed || w.secret.data != 'a' && w.knowsVersion()
	w.secret, w.versions = secretVersion{1, 'a'}, []secretVersion{{1, 'a'}}
	for i := range w.pods {
		for j := range w.pods[i].sidecars {
			w.pods[i].sidecars[j].up = false
		}
	}
}

func (w world) clone() world {
	w.pods, w.podEvents, w.answers = slices.Clone(w.pods), slices.Clone(w.podEvents), slices.Clone(w.answers)
	w.versions = slices.Clone(w.versions)
	for i := range w.pods {
		w.pods[i].sidecars = slices.Clone(w.pods[i].sidecars)
	}
	t := *w.tally
	t.pods = maps.Clone(t.pods)
	for uid, p := range t.pods {
		copied := *p
		copied.probes = slices.Clone(p.probes)
		for i, s := range p.probes {
			probe := *s
			copied.probes[i] = &probe
		}
		t.pods[uid] = &copied
	}
	for i, a := range w.answers { // an answer to an earlier query belongs to the copy
		for j, s := range w.tally.pods[a.query.UID].known() {
			if s == a.query.probe {
				p := t.pods[a.query.UID]
				w.answers[i].query = query{p, p.probes[j]}
			}
		}
	}
	w.tally = &t
	return w
}

// known returns the sidecars of the Pod, none for nil.
func (p *pod) known() []*probe {
	if p == nil {
		return nil
	}
	return p.probes
}

// key returns a text that is equal for states that behave alike.
func (w world) key() string {
	b := make([]byte, 0, 512)
	add := func(values ...any) { b = fmt.Append(append(b, '|'), values...) }
	age := func(at time.Time) int {
		switch {
		case at.IsZero():
			return 0
		case w.now.Sub(at) < grace:
			return 1
		}
		return 2
	}
	for _, v := range w.versions {
		add(v.rv, v.data)
	}
	h := w.tally.history
	add(w.changes, w.confirming, w.changed, w.wanted, w.now.Unix())
	add(h.version, " ", h.last.first, " ", h.last.version, " ", h.proven)
	for _, p := range w.pods {
		add(p.bound, p.deleting, p.started, p.appStarted, p.reported, p.appReported, p.created.Unix())
		for _, s := range p.sidecars {
			add(s.instance, s.running, s.up, s.files, s.generation, s.notified, s.app, s.pending, s.successes)
			for _, k := range []known{s.have, s.observed} {
				add(k.rv, k.data, k.since, k.previous[0], k.previous[1])
			}
		}
	}
	for _, e := range w.podEvents {
		add(e.pod.UID, e.gone, e.pod.deleting, e.pod.unstarted, e.pod.appUnstarted)
	}
	for _, a := range w.answers {
		d, s := a.document, a.document.Secrets["db"]
		add(a.query.UID, a.query.container, d.Instance, d.Generation, d.Targets[0].Notified, d.Targets[0].Successes,
			d.Watches[0].Up)
		add(s.ResourceVersion, " ", s.DataSince, " ", s.PreviousData.Since, " ", s.PreviousData.Until)
	}
	for _, uid := range slices.Sorted(maps.Keys(w.tally.pods)) {
		c := w.tally.pods[uid]
		add(uid, c.deleting, c.unstarted, c.appUnstarted, age(c.seen))
		for _, p := range c.probes {
			add(p.instance, " ", p.volume, " ", p.asking, p.reason == "", p.notWatching, age(p.filesAt),
				age(p.notifiedAt), " ", p.sent)
		}
	}
	return string(b)
}

var errLost = errors.New("no answer")
