package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// newTargets makes what the configuration wants to be notified. A new kind of
// target is a folder below notifier and a line here.
func newTargets(cfg *config.Config, log *slog.Logger) (all []notifier.Target) {
	// suffix distinguishes one of several.
	add := func(kind string, several bool, suffix any, notify func(context.Context, notifier.Changes) error) {
		if several {
			kind = fmt.Sprint(kind, "/", suffix)
		}
		all = append(all, notifier.Target{Name: kind, Notify: notify})
	}
	signalling := func(p config.Signalled) process.Options {
		return process.Options{
			Signal: cmp.Or(p.Signal, cfg.Signal.Value), Check: cfg.SignalCheck.Value, MinAge: cfg.ProcessMinAge.Value, Logger: log,
		}
	}
	names, files, urls := cfg.Process.Value, cfg.PIDFile.Value, cfg.WebhookURL.Value
	several := len(names)+len(files) > 1
	for _, p := range names {
		add("process", several, p.Of, process.NewByName(p.Of, signalling(p)).Notify)
	}
	for i, p := range files {
		kind := "process"
		if several {
			kind = "pidfile"
		}
		add(kind, several, i+1, process.NewByPIDFile(p.Of, signalling(p)).Notify)
	}
	for i, url := range urls {
		add("webhook", len(urls) > 1, i+1, webhook.Target{
			URL: url, Method: cfg.WebhookMethod.Value, Timeout: cfg.WebhookTimeout.Value,
			CAFile: cfg.WebhookCAFile.Value, TokenFile: cfg.WebhookTokenFile.Value, Logger: log,
		}.Notify)
	}
	if command := cfg.Exec.Value; len(command) > 0 {
		add("exec", false, nil, exec.Target{Command: command, Timeout: cfg.ExecTimeout.Value, Logger: log}.Notify)
	}
	return all
}
