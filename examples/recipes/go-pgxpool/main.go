// Command go-pgxpool is a web service on PostgreSQL. It reloads on SIGHUP. Copy pool.go
// into your app. This file is the app around it in the tests.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anything else: until then, SIGHUP kills the program
	p, err := Open(context.Background(), os.Getenv("APP_DATABASE"), os.Getenv("APP_CREDENTIALS"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go reload(p, hup)
	http.HandleFunc("GET /query", handler(p, query))
	http.HandleFunc("GET /transaction", handler(p, transaction))
	fmt.Println(http.ListenAndServe(os.Getenv("APP_ADDR"), nil))
	os.Exit(1)
}

// reload reloads after each signal. The sender of a signal does not learn whether the
// reload succeeded, so reload retries until it succeeds. A further signal waits in the
// channel.
func reload(p *Pool, hup <-chan os.Signal) {
	for range hup {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			user, err := p.Reload(ctx)
			cancel()
			if err == nil {
				fmt.Println("reloaded as", user)
				break
			}
			fmt.Println("reload failed:", err)
			time.Sleep(time.Second)
		}
	}
}

func handler(p *Pool, do func(context.Context, *Pool) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(r.Context(), p); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

const countItems = "SELECT COUNT(*) FROM secretsync_items"

func query(ctx context.Context, p *Pool) error {
	var items int
	return p.QueryRow(ctx, countItems).Scan(&items)
}

func transaction(ctx context.Context, p *Pool) error {
	tx, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(ctx, "INSERT INTO secretsync_done VALUES (1)"); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond)
	var items int
	if err := tx.QueryRow(ctx, countItems).Scan(&items); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
