package simulation

import (
	"fmt"
	"maps"
	"slices"
)

// object is a Secret at one version. It is not changed once it was made.
type object struct {
	name, uid string
	rv        int
	labelled  bool
	// stamp is the version since which the data is as it is. It is in every value,
	// so that a reader can tell which version a file is of.
	stamp int
	data  map[string]string
}

// event is a change in the API server, with the Secret before and after it, nil
// for none.
type event struct {
	rv            int
	before, after *object
}

func (e event) name() string {
	if e.after != nil {
		return e.after.name
	}
	return e.before.name
}

// truth is what the API server has, and had.
type truth struct {
	rv, uids int
	objects  map[string]*object
	log      []event
	data     map[string]map[int]map[string]string // name → stamp → key → value
	changed  chan struct{}                        // closed at each event, and made anew
}

func newTruth() *truth {
	return &truth{rv: 1000, objects: map[string]*object{}, data: map[string]map[int]map[string]string{}, changed: make(chan struct{})}
}

// put gives a Secret new data with these keys; nil leaves the data as it is.
func (t *truth) put(name string, labelled bool, keys []string) {
	t.rv++
	before := t.objects[name]
	after := &object{name: name, rv: t.rv, labelled: labelled}
	if before != nil {
		after.uid, after.stamp, after.data = before.uid, before.stamp, before.data
	} else {
		t.uids++
		after.uid = fmt.Sprintf("uid-%d", t.uids)
	}
	if keys != nil || before == nil {
		after.stamp, after.data = t.rv, map[string]string{}
		for _, key := range keys {
			after.data[key] = fmt.Sprintf("%s@%d/%s", name, t.rv, key)
		}
		if t.data[name] == nil {
			t.data[name] = map[int]map[string]string{}
		}
		t.data[name][t.rv] = after.data
	}
	t.objects[name] = after
	t.append(event{t.rv, before, after})
}

func (t *truth) delete(name string) {
	if before := t.objects[name]; before != nil {
		t.rv++
		delete(t.objects, name)
		t.append(event{t.rv, before, nil})
	}
}

func (t *truth) append(e event) {
	t.log = append(t.log, e)
	close(t.changed)
	t.changed = make(chan struct{})
}

// goneSince reports whether a Secret was deleted, or left the selector, after a
// version.
func (t *truth) goneSince(name string, rv int) bool {
	return slices.ContainsFunc(t.log, func(e event) bool {
		return e.rv > rv && e.name() == name && !wanted(e.after)
	})
}

// at is what there was at a version.
func (t *truth) at(rv int) map[string]*object {
	if rv >= t.rv {
		return maps.Clone(t.objects)
	}
	all := map[string]*object{}
	for _, e := range t.log {
		if e.rv > rv {
			break
		}
		if e.after == nil {
			delete(all, e.name())
		} else {
			all[e.name()] = e.after
		}
	}
	return all
}

// The Secrets that the program is told to watch.
const (
	required   = "db"
	optional   = "extra"
	labelKey   = "app"
	labelValue = "web"
)

// secrets are all there ever are; the last two are those of the selector.
var secrets = []string{required, optional, "web1", "web2"}

func named(name string) bool { return name == required || name == optional }

// wanted reports whether a Secret has to be in the volume.
func wanted(o *object) bool { return o != nil && (named(o.name) || o.labelled) }

// refused reports whether a Secret cannot be laid out: it has no keys, or the required
// one lacks the one that it must have.
func refused(o *object) bool {
	_, has := o.data[required+"-a"]
	return len(o.data) == 0 || o.name == required && !has
}

// keys are those that a Secret may have. They differ from Secret to Secret, so that
// all fit into one flat directory. Which a version has varies; db-a is required.
func keys(name string, variant int) []string {
	all := []string{name + "-a", name + "-b", name + "-c"}
	switch variant {
	case 0:
		return all[:1]
	case 1:
		return all
	case 2:
		return []string{} // refused
	case 3:
		return all[1:] // refused of db
	}
	return all[:2]
}
