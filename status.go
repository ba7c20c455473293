package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
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
	d, err := fetchStatus(cfg.HTTPAddr, state.Notified.Volume)
	if err != nil && volumeErr != nil {
		return errors.Join(err, volumeErr)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "secret-sync: %v: this is the state of the volume %q\n", err, cfg.Dir)
		d = statusOfVolume(state)
		d.Targets = recordedTargets(state, cfg)
	}
	if *format == "text" {
		return d.WriteText(out, time.Now())
	}
	return status.WriteJSON(out, d)
}

// fetchStatus requests the document of the server in this container. In a shared network, another
// container may answer at addr: the document must name the volume of this container.
func fetchStatus(addr, volume string) (*status.Document, error) {
	if addr == "" {
		return nil, errors.New("no HTTP server runs: SECRETSYNC_HTTP_ADDR is empty, or this is an init container")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	body, err := status.Fetch(ctx, addr) // without a host, it is an address of this network namespace
	if err != nil {
		return nil, fmt.Errorf("the HTTP server does not answer: %w", err)
	}
	d, err := status.Parse(body)
	if err == nil && d.Volume != volume {
		err = fmt.Errorf("the HTTP server at %s belongs to the sidecar of another volume", addr)
	}
	return d, err
}

// recordedTargets returns the targets in the records of the volume. A target that is no longer
// configured is named by its key.
func recordedTargets(v writer.State, cfg *config.Config) []status.Target {
	names, targets := map[string]string{}, []status.Target{}
	for _, t := range newTargets(cfg, nil, slog.New(slog.DiscardHandler), nil) {
		names[t.Key] = t.Name
	}
	for _, key := range slices.Sorted(maps.Keys(v.Notified.Targets)) {
		name, notified := cmp.Or(names[key], key), v.Notified.Targets[key].Notified
		targets = append(targets, status.Target{Name: name, Notified: notified, Pending: notified != v.Generation})
	}
	return targets
}
