// Command app is a small web service. It keeps working while its database credentials
// rotate. It reads the credentials from the files of a Secret. SIGHUP or POST /-/reload
// makes it open connections with the new credentials and close the old connections. No
// query fails. With APP_FOLLOW=true the app watches the files itself.
//
//	GET  /query        counts the rows of a table
//	GET  /transaction  does the same in a transaction of 100 ms
//	GET  /status       the database user, and the time of the last reload
//	POST /-/reload     204 once every connection uses the newest credentials, else 500
//
// The environment:
//
//	APP_DATABASE       a URL without a user: mysql://HOST:PORT/NAME or postgres://HOST:PORT/NAME
//	APP_CREDENTIALS    the directory of the Secret
//	APP_ADDR           the address to listen on
//	APP_FOLLOW         true: watch the files; no notification is needed
//	APP_CONN_LIFETIME  the maximum lifetime of a database connection
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

func main() {
	// Register the handler before anything else: until then, SIGHUP kills the program.
	// The sidecar gives the app 5 s after its start to do this.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)

	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	if err := run(hup); err != nil {
		slog.Error("exiting", "err", err)
		os.Exit(1)
	}
}

func run(hup <-chan os.Signal) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	lifetime, err := time.ParseDuration(env("APP_CONN_LIFETIME", "10m"))
	if err != nil {
		return fmt.Errorf("APP_CONN_LIFETIME: %w", err)
	}
	follow, err := strconv.ParseBool(env("APP_FOLLOW", "false"))
	if err != nil {
		return fmt.Errorf("APP_FOLLOW: %w", err)
	}
	dir := env("APP_CREDENTIALS", "/secrets/db")
	p, err := pool.Open(ctx, pool.Options{
		Database:    env("APP_DATABASE", "mysql://127.0.0.1:3306/app"),
		Dir:         dir,
		MaxLifetime: lifetime,
	})
	if err != nil {
		return err
	}
	defer p.Close()
	slog.Info("connected", "user", p.Status().User)

	changed := make(chan struct{}, 1)
	if follow {
		go func() { slog.Error("stopped watching the files", "err", pool.Follow(ctx, dir, changed)) }()
	}
	go reloadOnDemand(ctx, p, hup, changed)
	return serve(ctx, env("APP_ADDR", ":8080"), handler(p))
}

// reloadOnDemand reloads after each SIGHUP and each change of the files. The sender of
// a signal does not learn whether the reload succeeded, so reloadOnDemand retries until
// it succeeds.
func reloadOnDemand(ctx context.Context, p *pool.Pool, hup <-chan os.Signal, changed <-chan struct{}) {
	var retry <-chan time.Time // nil, and therefore never ready, unless the last reload failed
	for {
		by := "retry"
		select {
		case <-ctx.Done():
			return
		case <-hup:
			by = "SIGHUP"
		case <-changed:
			by = "files"
		case <-retry:
		}
		retry = nil
		if err := reload(ctx, p, by); err != nil {
			retry = time.After(time.Second)
		}
	}
}

func reload(ctx context.Context, p *pool.Pool, by string) error {
	slog.Info("reload requested", "by", by)
	changed, err := p.Reload(ctx)
	switch {
	case err != nil:
		slog.Error("reload failed, keeping the old connections", "err", err)
	case changed:
		slog.Info("new pool", "user", p.Status().User)
	default:
		slog.Info("credentials unchanged")
	}
	return err
}

func serve(ctx context.Context, addr string, h http.Handler) error {
	server := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("shut down with requests still running: %w", err)
	}
	return err
}

func env(name, fallback string) string {
	if v, ok := os.LookupEnv(name); ok {
		return v
	}
	return fallback
}
