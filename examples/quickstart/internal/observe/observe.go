// Package observe records the events of a sidecar and its app from outside: it watches
// the volume with inotify and reads the logs. Events are in the order of observation. The
// package does not know to which rotation an event belongs.
package observe

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// An Event is a step of a rotation in a replica.
type Event struct {
	Kind string // "swapped": the files; "notified": the app; "pool": the app opened a new pool
	User string // user of the new pool
	At   time.Time
}

// An Observer collects the events of a replica.
type Observer struct {
	watcher *fsnotify.Watcher
	mu      sync.Mutex
	events  []Event
}

// New returns an Observer of the volume in dir.
func New(dir string) (*Observer, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(dir); err != nil {
		w.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	o := &Observer{watcher: w}
	go o.watch()
	return o, nil
}

func (o *Observer) watch() {
	for e := range o.watcher.Events {
		if filepath.Base(e.Name) == "..data" && e.Has(fsnotify.Create) {
			o.add(Event{Kind: "swapped", At: time.Now()})
		}
	}
}

// A line is a line of a log in JSON.
type line struct {
	Time      time.Time
	Msg, User string
}

// AppLine processes a line of the app's log, in JSON or in the format of the recipes.
func (o *Observer) AppLine(text string) {
	var l line
	if json.Unmarshal([]byte(text), &l) != nil {
		l = plainLine(text)
	}
	switch l.Msg {
	case "reload requested":
		o.add(Event{Kind: "notified", At: l.Time})
	case "new pool":
		o.add(Event{Kind: "pool", User: l.User, At: l.Time})
	}
}

func plainLine(text string) line {
	l := line{Time: time.Now()}
	if strings.HasPrefix(text, "reload requested") {
		l.Msg = "reload requested"
	}
	for _, prefix := range []string{"new pool as ", "reloaded as "} { // some recipes print only the second
		if user, ok := strings.CutPrefix(text, prefix); ok {
			l.Msg, l.User = "new pool", strings.TrimSpace(user)
		}
	}
	return l
}

// SidecarLine processes a line of the sidecar's log. Use it for an app notified by a
// signal, because such an app does not log the notification.
func (o *Observer) SidecarLine(text string) {
	var l line
	if json.Unmarshal([]byte(text), &l) == nil && l.Msg == "notified the app" {
		o.add(Event{Kind: "notified", At: l.Time})
	}
}

func (o *Observer) add(e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

// Since returns the events at or after a time. The times are comparable, because all
// processes run on the same machine.
func (o *Observer) Since(at time.Time) (events []Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if !e.At.Before(at) {
			events = append(events, e)
		}
	}
	return events
}
