package rollout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/status"
)

// The model: Pods with their sidecars and apps, an API server whose news arrive
// late, and answers that are under way. Every order of its steps up to a depth is
// tried against the tally, and at each yes the apps are looked at.

// modelPod is one Pod of the world.
type modelPod struct {
	uid      string
	exists   bool   // in the API
	running  bool   // its sidecar was started, and reported
	deleting bool   // its app still runs
	down     bool   // its sidecar was killed, and not started again yet
	version  int    // in its files
	since    uint64 // the generation of the files
	notified uint64
	app      int // the version that its app was notified of, or started with
}

// inflight is an answer on its way: the document as it was when it was asked for.
type inflight struct {
	uid string
	doc *status.Document
}

type world struct {
	secret  int // the version in the API server
	pods    [2]modelPod
	events  []kube.Event[pod] // of the watch, not delivered yet
	answers []inflight
	tally   *tally
	now     time.Time
	yes     bool
}

const goal = 2

// newWorld begins after the change of the Secret to version 2: one Pod runs with
// version 1, another one does not exist.
func newWorld(grace time.Duration) world {
	w := world{secret: goal, now: time.Unix(1000, 0)}
	w.pods[0] = modelPod{uid: "a", exists: true, running: true, version: 1, since: 1, notified: 1, app: 1}
	w.pods[1] = modelPod{uid: "b"}
	w.tally = newTally(Version{Secret: "db", UID: "u", ResourceVersion: fmt.Sprint(goal)}, false, grace)
	return w
}

func (w world) clone() world {
	tally := *w.tally
	tally.pods = maps.Clone(tally.pods)
	for uid, c := range tally.pods {
		copied := *c
		tally.pods[uid] = &copied
	}
	w.tally, w.events, w.answers = &tally, slices.Clone(w.events), slices.Clone(w.answers)
	return w
}

// key is equal for states that behave alike.
func (w world) key() string {
	var b strings.Builder
	fmt.Fprint(&b, w.secret, w.pods, len(w.events), max(w.tally.graceUntil.Sub(w.now), 0))
	for _, e := range w.events {
		fmt.Fprint(&b, e.Type, e.Object.Metadata.UID, e.Object.role())
	}
	for _, a := range w.answers {
		fmt.Fprint(&b, a.uid, a.doc)
	}
	for _, uid := range slices.Sorted(maps.Keys(w.tally.pods)) {
		c := w.tally.pods[uid]
		fmt.Fprint(&b, uid, c.role, c.Done, c.asking, c.pod.Metadata.DeletionTimestamp)
	}
	return b.String()
}

func (p modelPod) object() pod {
	var o pod
	o.Metadata.Name, o.Metadata.UID = "pod-"+p.uid, p.uid
	o.Spec.Containers = []container{{Name: sidecarName}}
	o.Status.Phase = "Pending"
	if p.running {
		o.Status.Phase = "Running"
		o.Status.ContainerStatuses = []containerStatus{{Name: sidecarName, State: map[string]any{"running": true}}}
	}
	if p.deleting {
		o.Metadata.DeletionTimestamp = "now"
	}
	return o
}

func (p modelPod) document() *status.Document {
	return &status.Document{
		Format: 1, Pod: "pod-" + p.uid, Generation: p.since,
		Secrets: map[string]status.Secret{"db": {Present: true, UID: "u", ResourceVersion: fmt.Sprint(p.version), Generation: p.since}},
		Targets: []status.Target{{Name: "webhook", Notified: p.notified}},
	}
}

func (w *world) list() (pods []pod) {
	for _, p := range w.pods {
		if p.exists {
			pods = append(pods, p.object())
		}
	}
	return pods
}

// steps has everything that can happen next, by name.
func (w world) steps() map[string]func(*world) {
	steps := map[string]func(*world){}
	for i, p := range w.pods {
		event := func(kind watch.EventType) func(*world) {
			return func(w *world) {
				w.events = append(w.events, kube.Event[pod]{Type: kind, Object: w.pods[i].object()})
			}
		}
		step := func(name string, enabled bool, change func(*modelPod), then func(*world)) {
			if enabled {
				steps[name+" "+p.uid] = func(w *world) { change(&w.pods[i]); then(w) }
			}
		}
		silent := func(*world) {}
		step("create", !p.exists && !p.deleting, func(p *modelPod) { p.exists = true }, event("ADDED"))
		step("start", p.exists && !p.running, func(p *modelPod) { // it reads the newest, and counts as notified of it
			p.running, p.version, p.since, p.notified, p.app = true, w.secret, 1, 1, w.secret
		}, event("MODIFIED"))
		step("delete", p.exists && !p.deleting, func(p *modelPod) { p.deleting = true }, event("MODIFIED"))
		step("gone", p.exists && p.deleting, func(p *modelPod) { p.exists, p.running = false, false }, event("DELETED"))
		step("publish", p.exists && p.running && !p.down && p.version < w.secret, func(p *modelPod) { p.version = w.secret; p.since++ }, silent)
		step("notify", p.exists && p.running && !p.down && p.notified < p.since, func(p *modelPod) { p.notified, p.app = p.since, p.version }, silent)
	}
	if p := w.pods[0]; p.exists && p.running { // what it knows is in the volume
		steps["kill or restart"] = func(w *world) { w.pods[0].down = !p.down }
	}
	if w.secret == goal {
		steps["change"] = func(w *world) { w.secret++ }
	}
	if len(w.events) > 0 {
		steps["event"] = func(w *world) { w.deliver() }
	}
	steps["list"] = func(w *world) { w.events = nil; w.tally.list(w.list()) }
	steps["ask"] = func(w *world) { w.ask() }
	for i := range w.answers {
		steps[fmt.Sprint("answer ", i)] = func(w *world) { w.answer(i, nil) }
		steps[fmt.Sprint("lost answer ", i)] = func(w *world) { w.answer(i, errors.New("lost")) }
	}
	if later := w.now.Add(time.Hour); w.tally.complete(later) {
		steps["grace"] = func(w *world) { w.now = later }
	}
	if w.tally.complete(w.now) {
		steps["confirm"] = func(w *world) { w.yes = w.tally.confirm(w.list(), w.now) }
	}
	return steps
}

func (w *world) deliver() {
	e := w.events[0]
	w.events = w.events[1:]
	w.tally.apply(e)
}

// ask asks the next Pod that is due. The document is that of now.
func (w *world) ask() {
	for _, asked := range w.tally.due(w.now, 1) {
		for _, p := range w.pods {
			if p.uid != asked.Metadata.UID {
				continue
			}
			if p.running && !p.down {
				w.answers = append(w.answers, inflight{p.uid, p.document()})
			} else {
				w.tally.answer(p.uid, nil, errors.New("refused"), w.now, 0)
			}
		}
	}
}

func (w *world) answer(i int, err error) {
	a := w.answers[i]
	w.answers = slices.Delete(w.answers, i, i+1)
	w.tally.answer(a.uid, a.doc, err, w.now, 0)
}

// tooEarly names a Pod whose app may use an older version, "" if there is none.
func (w *world) tooEarly() string {
	for _, p := range w.pods {
		if p.exists && p.running && p.app < goal {
			return p.uid
		}
	}
	return ""
}

// TestNeverTooEarly tries every order of the model's steps.
func TestNeverTooEarly(t *testing.T) {
	const depth = 13
	seen := map[string]bool{}
	level := []world{newWorld(0)}
	history := map[string]string{}
	yes := 0
	for range depth {
		var next []world
		for _, w := range level {
			path := history[w.key()]
			for name, step := range w.steps() {
				to := w.clone()
				step(&to)
				if to.yes {
					yes++
					if uid := to.tooEarly(); uid != "" {
						t.Fatalf("yes, but the app of Pod %s may use an older version: %s, %s", uid, path, name)
					}
					continue
				}
				if k := to.key(); !seen[k] {
					seen[k] = true
					history[k] = path + ", " + name
					next = append(next, to)
				}
			}
		}
		level = next
	}
	t.Logf("%d states, %d ways to a yes", len(seen), yes)
	if yes == 0 {
		t.Error("there was never a yes")
	}
}
