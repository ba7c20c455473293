package sidecartest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A Notification is the body of a webhook request from the sidecar.
type Notification struct {
	Generation uint64   `json:"generation"`
	Secrets    []string `json:"secrets"`
	Added      []string `json:"added"`
	Changed    []string `json:"changed"`
	Removed    []string `json:"removed"`
}

// Paths returns every changed path with a mark, such as "+db/new", "~db/password" and
// "-db/old".
func (n Notification) Paths() []string {
	var paths []string
	for mark, list := range map[string][]string{"+": n.Added, "~": n.Changed, "-": n.Removed} {
		for _, path := range list {
			paths = append(paths, mark+path)
		}
	}
	slices.Sort(paths)
	return paths
}

// A Webhook is an HTTP server that stores the notifications it accepts.
type Webhook struct {
	URL    string
	Status atomic.Int64 // the status code of every response; initially 204

	mu       sync.Mutex
	accepted []Notification
	bodies   []string // of all requests
}

// NewWebhook starts a Webhook. It stops when the test ends.
func NewWebhook(t testing.TB) *Webhook {
	w := &Webhook{}
	w.Status.Store(http.StatusNoContent)
	server := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(server.Close)
	w.URL = server.URL + "/reload"
	return w
}

func (w *Webhook) serve(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var n Notification
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/reload" {
		http.Error(rw, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	status := int(w.Status.Load())
	w.mu.Lock()
	w.bodies = append(w.bodies, string(body))
	if status/100 == 2 {
		w.accepted = append(w.accepted, n)
	}
	w.mu.Unlock()
	rw.WriteHeader(status)
}

// Accepted returns the accepted notifications.
func (w *Webhook) Accepted() []Notification {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.accepted)
}

// Bodies returns the bodies of all requests.
func (w *Webhook) Bodies() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.bodies)
}
