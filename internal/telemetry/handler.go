package telemetry

import (
	"fmt"
	"net/http"

	"github.com/secret-sync/secret-sync/internal/status"
)

// Sources are asked at each request, concurrently.
type Sources struct {
	Collect func()       // sets the metrics that nothing else keeps current; nil: none
	Ready   func() error // why it is not ready, in names and never values
	Status  func() *status.Document
}

// Handler serves /livez, /readyz, /metrics and /status. Being alive needs no answer from
// anything: that the API server is away must not restart the container.
func Handler(m *Metrics, s Sources) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if s.Collect != nil {
			s.Collect()
		}
		_, _ = w.Write(m.text())
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = status.WriteJSON(w, s.Status())
	})
	return mux
}
