package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// event is something that was seen from outside the sidecar.
type event struct {
	kind string // swapped, notified or pool
	user string // of a new pool
	at   time.Time
}

// observer collects events: from the directory by inotify, from the app by the
// times in its own log.
type observer struct {
	watcher *fsnotify.Watcher
	mu      sync.Mutex
	events  []event
}

// newObserver watches dir, where the sidecar will put ..data.
func newObserver(dir string) (*observer, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(dir); err != nil {
		w.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	o := &observer{watcher: w}
	go o.watch()
	return o, nil
}

func (o *observer) watch() {
	for e := range o.watcher.Events {
		if filepath.Base(e.Name) == "..data" && e.Has(fsnotify.Create) {
			o.add(event{kind: "swapped", at: time.Now()})
		}
	}
}

// line is one of a log in JSON.
type line struct {
	Time      time.Time
	Msg, User string
}

// appLine takes a line of the app's log: in JSON, or as the recipes write it.
func (o *observer) appLine(text string) {
	var l line
	if json.Unmarshal([]byte(text), &l) != nil {
		l = plainLine(text)
	}
	switch l.Msg {
	case "reload requested":
		o.add(event{kind: "notified", at: l.Time})
	case "new pool":
		o.add(event{kind: "pool", user: l.User, at: l.Time})
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

// sidecarLine takes a line of the sidecar's log, for an app that a signal notifies.
func (o *observer) sidecarLine(text string) {
	var l line
	if json.Unmarshal([]byte(text), &l) == nil && l.Msg == "notified the app" {
		o.add(event{kind: "notified", at: l.Time})
	}
}

func (o *observer) add(e event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

// since gives the events from at on. Clocks of one machine are compared, so the
// times fit.
func (o *observer) since(at time.Time) (events []event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if !e.at.Before(at) {
			events = append(events, e)
		}
	}
	return events
}
