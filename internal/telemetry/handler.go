package telemetry

import (
	"io"
	"net/http"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

// Watch is the state of one watch, for the metrics.
type Watch struct {
	Name        string // secret/NAME or selector
	Up          bool
	LastContact time.Time // zero for never
}

// Notification is the state of one notification target, for the metrics.
type Notification struct {
	Target    string
	Pending   bool // not told of the newest generation yet
	Succeeded uint64
	Failed    uint64
}

// Sources are asked at each request, concurrently; a function may be nil.
type Sources struct {
	Watches       func() []Watch
	Notifications func() []Notification
	Ready         func() error // why it is not ready, in names and never values
	Status        func() *status.Document
	Version       string
}

// Handler serves /livez, /readyz, /metrics and /status. Being alive needs no answer from
// anything: that the API server is away must not restart the container.
func Handler(m *Metrics, s Sources) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.Ready != nil {
			if err := s.Ready(); err != nil {
				answer(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(expose(m.snapshot(), s))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = s.Status().Write(w)
	})
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
