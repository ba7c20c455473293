package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/writer"
)

// printStatus prints the status of this container's sidecar. It needs no variable
// to be right: only where the server and the volume are.
func printStatus(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("status", flag.ContinueOnError)
	format := flags.String("o", "json", "json or text")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if *format != "json" && *format != "text" {
		return fmt.Errorf("%w: -o %q: it is json or text", errUsage, *format)
	}
	cfg, _ := config.Load()
	dir := cfg.Dir
	d, err := fetchStatus(cfg.HTTPAddr)
	if err != nil {
		state, volumeErr := writer.ReadState(dir)
		if volumeErr != nil {
			return errors.Join(err, volumeErr)
		}
		fmt.Fprintf(os.Stderr, "secret-sync: %v: this is what the volume at %q says\n", err, dir)
		d = statusOfVolume(state)
	}
	if *format == "text" {
		return d.WriteText(out, time.Now())
	}
	return status.WriteJSON(out, d)
}

// fetchStatus asks the server of this container over the loopback address.
func fetchStatus(addr string) (*status.Document, error) {
	if addr == "" {
		return nil, errors.New("there is no server to ask: SECRETSYNC_HTTP_ADDR is empty, or this is an init container")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("SECRETSYNC_HTTP_ADDR: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // no look-up: an image from scratch may have no hosts file
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	document, err := status.Fetch(ctx, net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("no answer from the sidecar's server: %w", err)
	}
	return status.Parse(document)
}
