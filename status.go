package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/writer/inspect"
)

// status is the document of the running sidecar.
//
// What was notified is read after what is in the files: a target may by then have
// been notified of a newer generation, which never makes the document say more
// than is true.
func (a *app) status() *status.Document {
	observed := a.pipeline.Observed()
	d := statusOfVolume(a.writer.State())
	d.Namespace, d.Pod = a.cfg.Namespace.Value, a.cfg.PodName.Value
	for name, o := range observed {
		s := d.Secrets[name]
		s.Present, s.Refused = o.Present, o.Refused
		if o.Present {
			s.UID, s.ResourceVersion = o.UID, o.ResourceVersion
		}
		d.Secrets[name] = s
	}
	d.Targets = []status.Target{}
	for _, s := range a.notifier.Status() {
		d.Targets = append(d.Targets, status.Target{
			Name: s.Target, Notified: s.Notified, Pending: s.Pending, PendingSince: s.PendingSince.UTC(),
			Failures: s.Failures, Error: s.Error,
		})
	}
	for _, s := range a.watcher.Status() {
		d.Watches = append(d.Watches, status.Watch{Name: s.Watch, Up: s.Up, LastContact: s.LastContact.UTC()})
	}
	return d
}

// statusOfVolume is what the volume alone says. Whether a Secret still exists is
// not in it: a Secret that has files counts as present.
func statusOfVolume(v inspect.State) *status.Document {
	d := &status.Document{
		Format: status.Format, Generation: v.Generation, Complete: v.Complete,
		Secrets: map[string]status.Secret{}, Targets: []status.Target{}, Watches: []status.Watch{},
	}
	for name, s := range v.Secrets {
		d.Secrets[name] = status.Secret{Present: true, UID: s.UID, ResourceVersion: s.ResourceVersion, Generation: v.SecretSince(name)}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Notified)) {
		notified := v.Notified[name]
		d.Targets = append(d.Targets, status.Target{Name: name, Notified: notified, Pending: notified != v.Generation})
	}
	return d
}

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
	dir := cfg.Dir.Value
	d, err := fetchStatus(cfg.HTTPAddr.Value)
	if err != nil {
		state, volumeErr := inspect.Read(dir)
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
