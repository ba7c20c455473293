package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/writer"
)

// printStatus prints the status of this container's sidecar. It needs no valid environment,
// only the addresses of the server and of the volume.
func printStatus(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("status", flag.ContinueOnError)
	format := flags.String("o", "json", "json or text")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if *format != "json" && *format != "text" {
		return fmt.Errorf("%w: -o %q: must be json or text", errUsage, *format)
	}
	cfg, _ := config.Load()
	state, volumeErr := writer.ReadState(cfg.Dir)
	d, err := fetchStatus(cfg.HTTPAddr, state.VolumeID)
	if err != nil {
		if volumeErr != nil {
			return errors.Join(err, volumeErr)
		}
		fmt.Fprintf(os.Stderr, "secret-sync: %v: this is the state of the volume %q\n", err, cfg.Dir)
		d = statusOfVolume(state)
		nameTargets(d, cfg)
	}
	if *format == "text" {
		return d.WriteText(out, time.Now())
	}
	return status.WriteJSON(out, d)
}

// nameTargets replaces the keys in the records of the volume by the names of the configured
// targets. A target keeps its key if it is no longer configured.
func nameTargets(d *status.Document, cfg *config.Config) {
	names := map[string]string{}
	for _, t := range newTargets(cfg, slog.New(slog.DiscardHandler), func(string, string) {}) {
		names[t.Key] = t.Name
	}
	for i, t := range d.Targets {
		d.Targets[i].Name = cmp.Or(names[t.Name], t.Name)
	}
}

// fetchStatus requests the document of the server in this container over the loopback
// address. In a shared network, another container may answer there: the document must name
// the volume of this container.
func fetchStatus(addr, volume string) (*status.Document, error) {
	if addr == "" {
		return nil, errors.New("no HTTP server runs: SECRETSYNC_HTTP_ADDR is empty, or this is an init container")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("SECRETSYNC_HTTP_ADDR: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // a name would need a hosts file, which the image does not contain
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	body, err := status.Fetch(ctx, net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("the HTTP server does not answer: %w", err)
	}
	d, err := status.Parse(body)
	if err == nil && (volume == "" || d.Volume != volume) {
		err = fmt.Errorf("the HTTP server at %s belongs to the sidecar of another volume", addr)
	}
	return d, err
}
