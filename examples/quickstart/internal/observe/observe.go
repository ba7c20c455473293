// Package observe sees from outside when a sidecar and its app do what, in the volume by
// inotify and in their logs by the lines that say so. Events are in the order in which
// they were seen. The package must not know which rotation they belong to.
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

// Event is something that was seen.
type Event struct {
	Kind string // swapped (the files), notified (the app) or pool (the app has a new one)
	User string // of a new pool
	At   time.Time
}

// Observer collects events: from the directory by inotify, from the app by the
// times in its own log.
type Observer struct {
	watcher *fsnotify.Watcher
	mu      sync.Mutex
	events  []Event
}

// New watches dir, where the sidecar will put ..data.
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

// line is one of a log in JSON.
type line struct {
	Time      time.Time
	Msg, User string
}

// AppLine takes a line of the app's log: in JSON, or as the recipes write it.
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
	for _, prefix := range []string{"new pool as ", "reloaded as "} { // some write the latter alone
		if user, ok := strings.CutPrefix(text, prefix); ok {
			l.Msg, l.User = "new pool", strings.TrimSpace(user)
		}
	}
	return l
}

// SidecarLine takes a line of the sidecar's log, for an app that a signal notifies.
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

// Since gives the Events from at on. Clocks of one machine are compared, so the
// times fit.
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
