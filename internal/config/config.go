// Package config reads the environment, the only configuration of secret-sync.
//
// envconfig reads the variables as text and applies the defaults. A single function converts
// the text into a Config and collects all errors. No error contains a possibly secret value.
package config

import (
	"io/fs"
	"log/slog"
	"slices"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/notifier/webhook"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// Config is the configuration of secret-sync. docs/configuration.md describes the variables.
type Config struct {
	Namespace, PodName, PodUID, ServiceAccount string

	Secrets, OptionalSecrets []string // without duplicates
	Selector                 string
	Items                    layout.Items
	RequiredKeys             map[string][]string // by Secret

	Dir           string // an absolute path
	Layout        generation.Layout
	RemoveDeleted bool
	FileMode      fs.FileMode
	Settle        time.Duration

	Processes, PIDFiles []SignalTarget
	SignalCheck         bool
	SignalExitCheck     bool
	SignalInterval      time.Duration
	ProcessMinAge       time.Duration

	Webhooks                                       []*webhook.URL
	WebhookMethod, WebhookCAFile, WebhookTokenFile string
	WebhookTimeout                                 time.Duration
	Exec                                           []string // a program and its arguments
	ExecTimeout                                    time.Duration

	NotifyFirst, OneShot, Events bool
	Splay, SyncTimeout           time.Duration

	HTTPAddr           string // empty: no server
	LogLevel           slog.Level
	LogText, LogStdout bool
}

// A SignalTarget is a process to signal.
type SignalTarget struct {
	Process string // the name of the process, or the path of its PID file
	Signal  syscall.Signal
}

// Load reads the environment. Its error joins a *Problem for each mistake, in the order of
// the variables. Load returns a Config even with an error: the commands ready and status
// use a variable or two and must not fail because of the others.
func Load() (*Config, error) { return convert(read()) }

// SecretNames returns the names of all Secrets listed by name.
func (c *Config) SecretNames() []string { return slices.Concat(c.Secrets, c.OptionalSecrets) }
