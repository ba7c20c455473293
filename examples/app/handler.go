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
	mux.HandleFunc("GET /query", func(w http.ResponseWriter, r *http.Request) { work(w, r, p, query) })
	mux.HandleFunc("GET /transaction", func(w http.ResponseWriter, r *http.Request) { work(w, r, p, transaction) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p.Status())
	})
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, r *http.Request) {
		if err := reload(r.Context(), p, "webhook"); err != nil {
			// The sidecar retries after any status other than 2xx. The log contains the reason.
			http.Error(w, "reload failed, keeping the old connections", http.StatusInternalServerError)
			return
		}
		if err := p.Drained(r.Context()); err != nil {
			return // the caller has gone and will retry
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// work runs do with the current connections. Because of its timeout, a hanging query
// does not keep an old pool open forever.
func work(w http.ResponseWriter, r *http.Request, p *pool.Pool, do func(context.Context, *sql.DB) (int, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	var items int
	err := p.Use(func(db *sql.DB) (err error) {
		items, err = do(ctx, db)
		return err
	})
	if err != nil {
		slog.Error("query failed", "err", err)
		http.Error(w, "query failed", http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%d items\n", items)
}

const countItems = "SELECT COUNT(*) FROM secretsync_items"

func query(ctx context.Context, db *sql.DB) (items int, err error) {
	err = db.QueryRowContext(ctx, countItems).Scan(&items)
	return items, err
}

// transaction pauses in the middle, so that credentials can change while it is open.
func transaction(ctx context.Context, db *sql.DB) (items int, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO secretsync_done VALUES (1)"); err != nil {
		return 0, err
	}
	time.Sleep(100 * time.Millisecond)
	if err := tx.QueryRowContext(ctx, countItems).Scan(&items); err != nil {
		return 0, err
	}
	return items, tx.Commit()
}
