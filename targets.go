package main

import (
	"fmt"
	"log/slog"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// newTargets returns the targets of the configuration. A new kind of target is a folder below
// notifier and a block here. warn is called with a target and a warning that is not a failure.
func newTargets(
	cfg *config.Config, interval *notifier.Interval, log *slog.Logger, warn func(target, message string),
) []notifier.Target {
	targets := processTargets(cfg, interval, log, warn)
	seen := map[string]int{} // by key, without userinfo and query: they often contain tokens, so keys can be equal
	for i, url := range cfg.Webhooks {
		name, key := "webhook", fmt.Sprint("webhook:", url)
		if len(cfg.Webhooks) > 1 {
			name = fmt.Sprint("webhook/", i+1)
		}
		if seen[key]++; seen[key] > 1 {
			key = fmt.Sprint(key, " ", seen[key])
		}
		target := webhook.Target{
			URL: url, Method: cfg.WebhookMethod, Timeout: cfg.WebhookTimeout,
			CAFile: cfg.WebhookCAFile, TokenFile: cfg.WebhookTokenFile, Logger: log.With("target", name),
		}
		targets = append(targets, notifier.Target{Name: name, Key: key, Notify: target.Notify})
	}
	if len(cfg.Exec) > 0 {
		target := exec.Target{Command: cfg.Exec, Timeout: cfg.ExecTimeout, Logger: log}
		targets = append(targets, notifier.Target{Name: "exec", Key: "exec", Notify: target.Notify})
	}
	return targets
}

// processTargets returns the processes to signal. A single target is named process.
func processTargets(
	cfg *config.Config, interval *notifier.Interval, log *slog.Logger, warn func(_, _ string),
) (targets []notifier.Target) {
	add := func(name, key string, t config.SignalTarget, opts process.Options) {
		if len(cfg.Processes)+len(cfg.PIDFiles) == 1 {
			name = "process"
		}
		opts.Signal, opts.MinAge, opts.Interval = t.Signal, cfg.ProcessMinAge, interval
		opts.Check, opts.ExitCheck = cfg.SignalCheck, cfg.SignalExitCheck
		opts.Logger, opts.Warn = log.With("target", name), func(message string) { warn(name, message) }
		target := process.New(opts)
		targets = append(targets, notifier.Target{Name: name, Key: key, Notify: target.Notify, Process: target})
	}
	for _, t := range cfg.Processes {
		add("process/"+t.Process, "process:"+t.Process, t, process.Options{Name: t.Process})
	}
	for i, t := range cfg.PIDFiles {
		add(fmt.Sprint("pidfile/", i+1), "pidfile:"+t.Process, t, process.Options{PIDFile: t.Process})
	}
	return targets
}
