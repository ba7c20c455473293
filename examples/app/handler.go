package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

func handler(p *pool.Pool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /query", func(w http.ResponseWriter, r *http.Request) { query(w, r, p) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p.Status())
	})
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, r *http.Request) {
		// Not 2xx, and the sidecar asks again. The reason is in our log.
		if err := reload(r.Context(), p, "webhook"); err != nil {
			http.Error(w, "reload failed, the old connections stay", http.StatusInternalServerError)
		} else if err := p.Drained(r.Context()); err == nil { // else the caller has gone
			w.WriteHeader(http.StatusNoContent)
		}
	})
	return mux
}

// query stands for the app's work. Every query has a limit, so that a hung one
// cannot keep an old pool open for ever.
func query(w http.ResponseWriter, r *http.Request, p *pool.Pool) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	var items int
	err := p.Use(func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT COUNT(*) FROM secretsync_items").Scan(&items)
	})
	if err != nil {
		slog.Error("query failed", "err", err)
		http.Error(w, "query failed", http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%d items\n", items)
}
