package rollout

import (
	"encoding/json"
	"strconv"
	"time"
)

// A modelPod is a Pod with its sidecars. Each sidecar has its own volume and app.
type modelPod struct {
	shown
	signaled bool // the apps are notified by a signal, not by a webhook

	started, appStarted bool // the containers of secret-sync, and the apps
	forgotten           bool // the kubelet reported a start, and reports it no longer
	sidecars            []modelSidecar
}

// A shown is the part of a Pod that the API server shows.
type shown struct {
	uid                   string
	created               time.Time
	bound, deleting       bool
	reader                bool // the app reads the Secret itself, when it starts
	prepared              bool // an init container has read the Secret, and no other container is reported as started
	unreported            bool // the kubelet has reported no container
	reported, appReported bool // started and appStarted, as far as the kubelet has reported them
}

// oldPod returns a Pod whose sidecar has not seen the change of the data to b.
func oldPod(uid string) modelPod {
	have := known{secretVersion{1, 'a'}, 1, [2]int{}}
	return modelPod{
		shown:   shown{uid: uid, created: began.Add(-time.Hour), bound: true, reported: true, appReported: true},
		started: true, appStarted: true,
		sidecars: []modelSidecar{{
			instance: 1, running: true, up: true, have: have, observed: have, files: 'a',
			generation: 1, notified: 1, app: 'a',
		}},
	}
}

// newPod returns a Pod whose app uses the data b.
func newPod(uid string) modelPod {
	p := oldPod(uid)
	s := &p.sidecars[0]
	s.event(secretVersion{2, 'b'})
	s.publish()
	s.notify(false)
	return p
}

// twoSidecars returns a Pod with two sidecars, of which the second has not seen the change.
func twoSidecars() modelPod {
	p := newPod("a")
	p.sidecars = append(p.sidecars, oldPod("a").sidecars...)
	return p
}

// newPending returns a Pod that does not exist yet.
func newPending(uid string) modelPod {
	return modelPod{shown: shown{uid: uid}, sidecars: make([]modelSidecar, 1)}
}

// objects contains each result of object.
var objects = map[objectKey]*pod{}

type objectKey struct {
	shown
	sidecars int
}

// object returns the Pod as the wait knows it from the API server.
func (p modelPod) object() *pod {
	key := objectKey{p.shown, len(p.sidecars)}
	if objects[key] == nil {
		var o podObject
		if err := json.Unmarshal(p.json(), &o); err != nil {
			panic(err)
		}
		objects[key] = o.reduce("shop", "db")
	}
	return fresh(*objects[key])
}

type fields map[string]any

// json returns the Pod in the form of the API server.
func (p modelPod) json() []byte {
	metadata := fields{"name": "pod-" + p.uid, "uid": p.uid, "creationTimestamp": p.created.Format(time.RFC3339)}
	if p.deleting {
		metadata["deletionTimestamp"] = p.created.Format(time.RFC3339)
	}
	app := fields{"name": "app", "image": "app"}
	if p.reader {
		ref := fields{"secretKeyRef": fields{"name": "db", "key": "password"}}
		app["env"] = []fields{{"name": "PASSWORD", "valueFrom": ref}}
	}
	spec, status := fields{"containers": []fields{app}}, fields{"phase": "Pending"}
	if p.appReported {
		status["phase"] = "Running"
	}
	if p.bound {
		spec["nodeName"] = "node"
	}
	var containers, statuses []fields
	if p.prepared {
		containers, statuses = []fields{{"name": "migrate", "image": "app"}}, []fields{ended("migrate")}
	}
	for i := range p.sidecars {
		if !p.reader {
			name := strconv.Itoa(i)
			containers = append(containers, fields{"name": name, "image": "secret-sync", "restartPolicy": "Always"})
			statuses = append(statuses, running(name, p.reported))
		}
	}
	spec["initContainers"] = containers
	if !p.unreported {
		status["initContainerStatuses"] = statuses
		status["containerStatuses"] = []fields{running("app", p.appReported)}
	}
	text, err := json.Marshal(fields{"metadata": metadata, "spec": spec, "status": status})
	if err != nil {
		panic(err)
	}
	return text
}

// running returns the status of a container that runs, or that waits for its first start.
func running(name string, runs bool) fields {
	state := "waiting"
	if runs {
		state = "running"
	}
	return fields{"name": name, "state": fields{state: fields{}}}
}

func ended(name string) fields {
	return fields{"name": name, "state": fields{"terminated": fields{"exitCode": 0}}}
}
