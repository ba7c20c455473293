package telemetry

import (
	"fmt"
	"net/http"

	"github.com/secret-sync/secret-sync/internal/status"
)

// Sources provide the content of the responses. Requests call them concurrently.
type Sources struct {
	Collect func()      // sets the metrics counted elsewhere; nil: none
	Ready   func() bool // reports whether the volume contains a complete generation
	Status  func() *status.Document
}

// Handler serves /livez, /readyz, /metrics and /status. /livez depends on nothing, because an
// outage of the API server must not restart the container. No response contains a key name.
func Handler(m *Metrics, s Sources) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.Ready() {
			http.Error(w, "the volume contains no complete generation; see the log", http.StatusServiceUnavailable)
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
