// flip ADDR PIDFILE is an HTTP server that reads the file VALUE at its start. At USR2,
// tableflip starts a successor with the listener.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr, pidFile string) error {
	usr2 := make(chan os.Signal, 1)
	signal.Notify(usr2, syscall.SIGUSR2)
	upgrader, err := tableflip.New(tableflip.Options{PIDFile: pidFile})
	if err != nil {
		return err
	}
	defer upgrader.Stop()
	value, err := os.ReadFile(os.Getenv("VALUE"))
	if err != nil {
		return err
	}
	listener, err := upgrader.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "notified %s\n", value)
	})}
	go server.Serve(listener)
	go func() {
		for range usr2 {
			if err := upgrader.Upgrade(); err != nil {
				fmt.Fprintln(os.Stderr, "upgrade:", err)
			}
		}
	}()
	if err := upgrader.Ready(); err != nil {
		return err
	}
	<-upgrader.Exit()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
