// Command app is a small web service that outlives the rotation of its database
// credentials. It reads them from the files of a Secret; when it is notified that
// they changed, by SIGHUP or by POST /-/reload, it changes to new connections
// without failing a query. With APP_FOLLOW=true it watches the files itself.
//
//	GET  /query        asks the database something
//	GET  /transaction  does so in a transaction of 100 ms
//	GET  /status       who is connected, and since when
//	POST /-/reload     204 once the newest credentials are in use and no older ones, else 500
//
// The environment: APP_DATABASE, a URL without a user, as mysql://HOST:PORT/NAME
// or postgres://HOST:PORT/NAME; APP_CREDENTIALS, the folder of the Secret;
// APP_ADDR; APP_FOLLOW; APP_CONN_LIFETIME, how long a connection may be used.
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
	// Before anything else: until the program asks for it, SIGHUP kills it. The
	// sidecar leaves a process alone that is younger than 5 s, for this moment.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)

	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	if err := run(hup); err != nil {
		slog.Error("app ends", "err", err)
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
	p, err := pool.Open(ctx, pool.Options{Database: env("APP_DATABASE", "mysql://127.0.0.1:3306/app"), Dir: dir, MaxLifetime: lifetime})
	if err != nil {
		return err
	}
	defer p.Close()
	slog.Info("connected", "user", p.Status().User)

	poke := make(chan struct{}, 1)
	if follow {
		go func() { slog.Error("follow the files", "err", pool.Follow(ctx, dir, poke)) }()
	}
	go reloadWhenAsked(ctx, p, hup, poke)
	return serve(ctx, env("APP_ADDR", ":8080"), handler(p))
}

// reloadWhenAsked reloads at every signal or poke. A signal has no answer to say
// that it did not work: so it is tried again here until it does.
func reloadWhenAsked(ctx context.Context, p *pool.Pool, hup <-chan os.Signal, poke <-chan struct{}) {
	var retry <-chan time.Time // nil, so never, unless the last one failed
	for {
		by := "retry"
		select {
		case <-ctx.Done():
			return
		case <-hup:
			by = "SIGHUP"
		case <-poke:
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
		slog.Error("reload failed, the old connections stay", "err", err)
	case changed:
		slog.Info("new pool", "user", p.Status().User)
	default:
		slog.Info("same credentials, nothing to do")
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
	finish, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := server.Shutdown(finish)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("requests still running: %w", err)
	}
	return err
}

func env(name, fallback string) string {
	if v, ok := os.LookupEnv(name); ok {
		return v
	}
	return fallback
}
