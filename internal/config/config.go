// Package config reads the environment, the only configuration that
// secret-sync has. Load tells every mistake at once; a value that may be secret
// is never repeated in one.
package config

import (
	"io/fs"
	"log/slog"
	"sort"
	"strings"
	"syscall"
	"time"
)

// Config is a valid environment.
type Config struct {
	Namespace      string
	PodName        string // empty if not known; never with Events
	PodUID         string // as PodName
	ServiceAccount string // empty if not known

	Secrets         []string                     // names, in the order given, each once
	OptionalSecrets []string                     // as Secrets; none is in both
	Selector        string                       // a label selector, or empty for none
	Items           map[string]map[string]string // secret → key → path
	RequiredKeys    map[string][]string          // secret → keys

	Dir            string // absolute and clean
	Flat           bool
	FileMode       fs.FileMode // permission bits; the owner may read
	RemoveOnDelete bool
	Settle         time.Duration

	Process       string // empty for none
	PIDFile       string // empty for none, and when Process is set
	Signal        syscall.Signal
	SignalCheck   bool
	ProcessMinAge time.Duration

	WebhookURL       string // empty for none; may hold a password
	WebhookMethod    string
	WebhookTimeout   time.Duration
	WebhookCAFile    string   // empty for none
	WebhookTokenFile string   // empty for none
	Exec             []string // nil for none
	ExecTimeout      time.Duration

	Splay       time.Duration
	NotifyFirst bool
	OneShot     bool
	SyncTimeout time.Duration // 0 for none
	Events      bool

	HTTPAddr  string // empty for no server, as always with OneShot
	PprofAddr string // empty for no server
	LogLevel  slog.Level
	LogText   bool // JSON if not
}

// Load reads the process environment. Its error is a MistakesError, with
// everything that is wrong.
func Load() (Config, error) {
	values, err := environment()
	if err != nil {
		return Config{}, err
	}
	variables := Variables()
	r := &reader{values: values}
	c := r.config()
	r.together(c)
	if c.OneShot {
		c.HTTPAddr = "" // an init container ends before anyone asks
	}
	position := make(map[string]int)
	for i, v := range variables {
		position[v.Name] = i
	}
	sort.SliceStable(r.mistakes, func(i, j int) bool { return position[r.mistakes[i].Variable] < position[r.mistakes[j].Variable] })
	if all := append(r.mistakes, unknown(variables)...); len(all) > 0 {
		return Config{}, MistakesError(all)
	}
	return c, nil
}

// DirForReady gives the volume's mount for the ready command, which minds no
// other variable and no mistake: in a directory that is not there, nothing is
// ready.
func DirForReady() string {
	values, err := environment()
	if err != nil {
		return ""
	}
	return trimSlashes(values[dirName])
}

// reader turns values into a Config and collects what is wrong with them.
type reader struct {
	values   map[string]string
	mistakes []Mistake
}

// get gives the value of a variable of the table.
func (r *reader) get(variable string) string {
	value, ok := r.values[variable]
	if !ok {
		panic("config: " + variable + " is not in the table") // a defect of this package
	}
	return value
}

// wrong records a mistake in a variable, whose value may be shown.
func (r *reader) wrong(variable, value, problem, may string) {
	r.mistakes = append(r.mistakes, Mistake{Variable: variable, Holds: quote(value), Problem: problem, May: may})
}

// hidden records a mistake in a variable whose value may be secret.
func (r *reader) hidden(variable, problem, may string) {
	r.mistakes = append(r.mistakes, Mistake{Variable: variable, Problem: problem, May: may})
}

// config takes every variable for itself.
func (r *reader) config() Config {
	c := Config{
		Namespace:       r.namespace(),
		PodName:         r.name(podName, isSubdomain),
		PodUID:          r.get(podUID),
		ServiceAccount:  r.name("POD_SERVICE_ACCOUNT", isSubdomain),
		Secrets:         r.names(prefix + "SECRETS"),
		OptionalSecrets: r.names(prefix + "OPTIONAL_SECRETS"),
		Selector:        r.selector(prefix + "SELECTOR"),
		Items:           r.items(prefix + "ITEMS"),
		RequiredKeys:    r.requiredKeys(prefix + "REQUIRED_KEYS"),
		Dir:             r.dir(dirName),
		Flat:            r.choice(prefix+"LAYOUT", "nested", "flat") == 1,
		FileMode:        r.mode(prefix + "FILE_MODE"),
		RemoveOnDelete:  r.choice(prefix+"ON_DELETE", "keep", "remove") == 1,
		Settle:          r.duration(prefix + "SETTLE"),
		OneShot:         r.bool(prefix + "ONE_SHOT"),
		SyncTimeout:     r.duration(prefix + "SYNC_TIMEOUT"),
		Events:          r.bool(prefix + "EVENTS"),
		HTTPAddr:        r.httpAddr(),
		PprofAddr:       r.pprofAddr(prefix + "PPROF_ADDR"),
		LogLevel:        logLevels[r.choice(prefix+"LOG_LEVEL", "debug", "info", "warn", "error")],
		LogText:         r.choice(prefix+"LOG_FORMAT", "json", "text") == 1,
	}
	r.notification(&c)
	return c
}

// notification takes what is about telling the app.
func (r *reader) notification(c *Config) {
	c.Process = r.process(prefix + "PROCESS")
	c.PIDFile = r.file(prefix + "PID_FILE")
	c.Signal = r.signal(prefix + "SIGNAL")
	c.SignalCheck = r.bool(prefix + "SIGNAL_CHECK")
	c.ProcessMinAge = r.duration(prefix + "PROCESS_MIN_AGE")
	c.WebhookURL = r.url(prefix + "WEBHOOK_URL")
	c.WebhookMethod = r.method(prefix + "WEBHOOK_METHOD")
	c.WebhookTimeout = r.timeout(prefix + "WEBHOOK_TIMEOUT")
	c.WebhookCAFile = r.hiddenFile(prefix + "WEBHOOK_CA_FILE")
	c.WebhookTokenFile = r.hiddenFile(prefix + "WEBHOOK_TOKEN_FILE")
	c.Exec = r.exec(prefix + "EXEC")
	c.ExecTimeout = r.timeout(prefix + "EXEC_TIMEOUT")
	c.Splay = r.duration(prefix + "SPLAY")
	c.NotifyFirst = r.bool(prefix + "NOTIFY_FIRST")
}

var logLevels = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

// trimSlashes takes away the slashes at the end that people write after a
// directory's name.
func trimSlashes(dir string) string {
	if trimmed := strings.TrimRight(dir, "/"); trimmed != "" {
		return trimmed
	}
	return dir
}
