package main

import (
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
	signalling := func(p config.SignalTarget) process.Options {
		return process.Options{
			Signal: p.Signal, Check: cfg.SignalCheck, MinAge: cfg.ProcessMinAge, Logger: log,
		}
	}
	names, files, urls := cfg.Processes, cfg.PIDFiles, cfg.Webhooks
	several := len(names)+len(files) > 1
	for _, p := range names {
		add("process", several, p.Process, process.NewByName(p.Process, signalling(p)).Notify)
	}
	for i, p := range files {
		kind := "process"
		if several {
			kind = "pidfile"
		}
		add(kind, several, i+1, process.NewByPIDFile(p.Process, signalling(p)).Notify)
	}
	for i, url := range urls {
		add("webhook", len(urls) > 1, i+1, webhook.Target{
			URL: url, Method: cfg.WebhookMethod, Timeout: cfg.WebhookTimeout,
			CAFile: cfg.WebhookCAFile, TokenFile: cfg.WebhookTokenFile, Logger: log,
		}.Notify)
	}
	if command := cfg.Exec; len(command) > 0 {
		add("exec", false, nil, exec.Target{Command: command, Timeout: cfg.ExecTimeout, Logger: log}.Notify)
	}
	return all
}
