// Package apiserver is an API server in memory. Only the tests of the simulation
// use it; nothing of it is in the program.
//
// It serves lists and watches of Secrets to a real client, over connections in
// memory: synctest's clock stands still while a goroutine waits for a real socket.
// It promises that a list without a version is of the present, and that a watch
// sends each change once and in order, unless it was asked for faults. It must not
// know the program, the volume, or which Secrets should be where.
package apiserver

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Object is a Secret at one version. It is not changed once it was made.
type Object struct {
	Name, UID string
	Version   int
	Labelled  bool // as Selector asks for
	// Stamp is the version since which the data is as it is. It is in every value,
	// so that a reader can tell which version a file is of.
	Stamp int
	Data  map[string]string
}

// event is a change, with the Secret before and after it, nil for none.
type event struct {
	version       int
	before, after *Object
}

func (e event) name() string {
	if e.after != nil {
		return e.after.Name
	}
	return e.before.Name
}

// Store is what the API server has, and had. Its methods may be called at any time.
type Store struct {
	mu            sync.Mutex // guards all that follows
	version, uids int
	objects       map[string]*Object
	log           []event
	data          map[string]map[int]map[string]string // name → stamp → key → value
	changed       chan struct{}                        // closed at each event, and made anew
}

// NewStore makes one that has no Secret.
func NewStore() *Store {
	return &Store{version: 1000, objects: map[string]*Object{}, data: map[string]map[int]map[string]string{}, changed: make(chan struct{})}
}

// Put gives a Secret new data with these keys; nil leaves the data as it is.
func (s *Store) Put(name string, labelled bool, keys []string) *Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	before := s.objects[name]
	after := &Object{Name: name, Version: s.version, Labelled: labelled}
	if before != nil {
		after.UID, after.Stamp, after.Data = before.UID, before.Stamp, before.Data
	} else {
		s.uids++
		after.UID = fmt.Sprintf("uid-%d", s.uids)
	}
	if keys != nil || before == nil {
		after.Stamp, after.Data = s.version, map[string]string{}
		for _, key := range keys {
			after.Data[key] = fmt.Sprintf("%s@%d/%s", name, s.version, key)
		}
		if s.data[name] == nil {
			s.data[name] = map[int]map[string]string{}
		}
		s.data[name][s.version] = after.Data
	}
	s.objects[name] = after
	s.append(event{s.version, before, after})
	return after
}

// Delete deletes a Secret, if there is one.
func (s *Store) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.objects[name]; before != nil {
		s.version++
		delete(s.objects, name)
		s.append(event{s.version, before, nil})
	}
}

func (s *Store) append(e event) {
	s.log = append(s.log, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Get is a Secret as it is now, nil for none.
func (s *Store) Get(name string) *Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[name]
}

// Data is what a Secret had in it since a stamp; nil if that was never its stamp.
func (s *Store) Data(name string, stamp int) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[name][stamp]
}

// Has reports whether a Secret was ever like that since a version.
func (s *Store) Has(name string, since int, like func(*Object) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.log, func(e event) bool {
		return e.version > since && e.name() == name && like(e.after)
	})
}

// At is what there was at a version.
func (s *Store) At(version int) map[string]*Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(version)
}

func (s *Store) at(version int) map[string]*Object {
	if version >= s.version {
		return maps.Clone(s.objects)
	}
	all := map[string]*Object{}
	for _, e := range s.log {
		if e.version > version {
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

// Forget drops the data of all versions but the present one, for a test that
// measures memory.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = map[string]map[int]map[string]string{}
	for i := range s.log {
		last := s.objects[s.log[i].name()]
		s.log[i].before, s.log[i].after = last, last
	}
}

// Now is what there is.
func (s *Store) Now() map[string]*Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}
