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

// Notification is what the sidecar sends.
type Notification struct {
	Generation uint64   `json:"generation"`
	Secrets    []string `json:"secrets"`
	Added      []string `json:"added"`
	Changed    []string `json:"changed"`
	Removed    []string `json:"removed"`
}

// Paths is all that changed, marked: "+db/new", "~db/password", "-db/old".
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

// Webhook is a server that keeps the notifications that it accepted.
type Webhook struct {
	URL    string
	Status atomic.Int64 // what it answers; 204 at first

	mu       sync.Mutex
	accepted []Notification
	bodies   []string // of accepted and refused ones
}

// NewWebhook starts one, which ends with the test.
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

// Accepted are the notifications so far.
func (w *Webhook) Accepted() []Notification {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.accepted)
}

// Bodies are all bodies so far.
func (w *Webhook) Bodies() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.bodies)
}
