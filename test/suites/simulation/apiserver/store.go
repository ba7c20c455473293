// Package apiserver is an API server in memory. Only the tests of the simulation use it.
//
// It serves lists and watches of Secrets to a real client. The connections are in memory,
// because the clock of synctest stands still while a goroutine waits for a real socket. A
// list without a version returns the current state. A watch sends each change once and in
// order, unless a fault is set. The package knows nothing about the program, the volume or
// the required state of the volume.
package apiserver

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// An Object is a version of a Secret. It is immutable.
type Object struct {
	Name, UID string
	Version   int
	Labelled  bool // matches Selector
	// Stamp is the version of the last change of the data. Every value contains it, so a
	// reader can identify the version of a file.
	Stamp int
	Data  map[string]string
}

// An event is a change, with the Secret before and after it; nil means no Secret.
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

// A Store contains the current and all former states of the API. Its methods may be called
// at any time.
type Store struct {
	mu            sync.Mutex // guards the fields below
	version, uids int
	objects       map[string]*Object
	log           []event
	data          map[string]map[int]map[string]string // name → stamp → key → value
	changed       chan struct{}                        // closed at each event, and then replaced
}

// NewStore returns an empty Store.
func NewStore() *Store {
	return &Store{
		version: 1000, objects: map[string]*Object{},
		data: map[string]map[int]map[string]string{}, changed: make(chan struct{}),
	}
}

// Set creates or updates a Secret with new data for these keys. With nil keys it keeps the
// data.
func (s *Store) Set(name string, labelled bool, keys []string) *Object {
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

// Delete deletes a Secret. A missing Secret is ignored.
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

// Get returns the current Secret, or nil.
func (s *Store) Get(name string) *Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[name]
}

// Data returns the data of a Secret for a stamp, or nil if the stamp does not exist.
func (s *Store) Data(name string, stamp int) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[name][stamp]
}

// EverMatched reports whether a Secret has matched the condition at any time since version.
func (s *Store) EverMatched(name string, since int, like func(*Object) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.log, func(e event) bool {
		return e.version > since && e.name() == name && like(e.after)
	})
}

// At returns all objects at a version.
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

// Forget drops the data of all former versions, for a test of memory.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = map[string]map[int]map[string]string{}
	for i := range s.log {
		last := s.objects[s.log[i].name()]
		s.log[i].before, s.log[i].after = last, last
	}
}

// Current returns all current objects.
func (s *Store) Current() map[string]*Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}
