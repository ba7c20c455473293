// Package config reads the environment, the only configuration of secret-sync.
//
// envconfig reads the variables and applies the defaults, and convert parses the rest. All
// mistakes are reported at once, and no error contains a possibly secret value.
package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kelseyhightower/envconfig"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// Config is the configuration. A field of Config hides the variable with the same name.
type Config struct {
	Pod podVariables
	syncVariables

	Secrets, OptionalSecrets []string     // without duplicates
	Items                    layout.Items // of SECRETSYNC_ITEMS and SECRETSYNC_ENV_FILES
	RequiredKeys             map[string][]string
	FileMode                 fs.FileMode
	Processes, PIDFiles      []SignalTarget
	Webhooks                 []*webhook.URL
	Exec                     []string // a program and its arguments
}

// A SignalTarget is a process to signal.
type SignalTarget struct {
	Process string // the name of the process, or the path of its PID file
	Signal  syscall.Signal
}

// Help is the table of the variables. A test generates it with envconfig.Usagef, which would
// make the binary 2.0 MB larger with the package text/template.
//
//go:embed variables.txt
var Help string

// Variables with the prefix POD_.
type podVariables struct {
	Namespace      string `required:"true" desc:"namespace, from the downward API"`
	Name           string `desc:"name of the Pod, for Events"`
	UID            string `desc:"UID of the Pod, for Events"`
	ServiceAccount string `split_words:"true" desc:"service account, for the command rbac"`
}

type List string // the text of a variable with several entries

// Variables with the prefix SECRETSYNC_.
type syncVariables struct {
	Secrets         List   `desc:"required Secrets, comma-separated, each watched by name"`
	OptionalSecrets List   `split_words:"true" desc:"Secrets that may be absent"`
	Selector        string `desc:"label selector; follows every matching Secret"`
	Items           List   `desc:"secret/key=path or secret/key+key=path:0600,...: write only these files of a Secret"`
	EnvFiles        List   `split_words:"true" desc:"secret=path or secret/key+key=path,...: write these dotenv files"`
	RequiredKeys    List   `split_words:"true" desc:"secret/key,...: publish a Secret only if these are not empty"`

	Dir      string            `default:"/secrets" desc:"mount path of the volume"`
	Layout   generation.Layout `default:"nested" desc:"nested: DIR/SECRET/KEY; flat: DIR/KEY"`
	FileMode string            `split_words:"true" default:"0644" desc:"mode of the files; the owner can always read"`
	OnDelete string            `split_words:"true" default:"keep" desc:"keep or remove the files of a deleted Secret"`
	Settle   time.Duration     `default:"0s" desc:"publish after this time without a change, or ten times this time"`

	Process         List          `desc:"signal the process with this name: nginx or nginx,app:USR1"`
	PIDFile         List          `split_words:"true" desc:"signal the process with the number in this file"`
	Signal          string        `default:"HUP" desc:"signal to send, a name or a number"`
	SignalCheck     bool          `split_words:"true" default:"true" desc:"require a handler; false for sigwait"`
	SignalExitCheck bool          `split_words:"true" default:"true" desc:"stop signaling an app that ended twice"`
	SignalInterval  time.Duration `split_words:"true" default:"500ms" desc:"time between signals, and before a publish"`
	ProcessMinAge   time.Duration `split_words:"true" default:"5s" desc:"wait until the process has this age"`

	WebhookURL       List          `split_words:"true" desc:"call this URL: http://, https:// or unix:///a.sock:/path"`
	WebhookMethod    string        `split_words:"true" default:"POST" desc:"HTTP method of the call"`
	WebhookTimeout   time.Duration `split_words:"true" default:"5s" desc:"time limit of a call"`
	WebhookCAFile    string        `split_words:"true" desc:"file with the CA to trust, re-read for each call"`
	WebhookTokenFile string        `split_words:"true" desc:"file with the bearer token to send, re-read for each call"`
	Exec             string        `desc:"run this command, a JSON array, in the container of secret-sync"`
	ExecTimeout      time.Duration `split_words:"true" default:"30s" desc:"kill the process group of the command then"`

	Splay       time.Duration `default:"0s" desc:"wait a random time up to this before a notification"`
	NotifyFirst bool          `split_words:"true" default:"false" desc:"also notify of the first generation"`
	OneShot     bool          `split_words:"true" default:"false" desc:"init container: exit after the first publish"`
	SyncTimeout time.Duration `split_words:"true" default:"0s" desc:"exit 1 without a complete generation; 0s: never"`
	Events      bool          `default:"false" desc:"create Events for the Pod"`

	HTTPAddr  string     `split_words:"true" default:":29808" desc:"address of the HTTP server; empty: no server"`
	LogLevel  slog.Level `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogOutput string     `split_words:"true" default:"stderr" desc:"stderr or stdout"`
	LogFormat string     `split_words:"true" default:"json" desc:"json or text"`
}

// Load reads the environment. Its error joins a *Problem for each mistake, in the order of
// the variables. Load returns a Config even with an error: the commands ready and status
// use a variable or two and must not fail because of the others.
func Load() (*Config, error) {
	p, c := problems{}, &Config{Items: layout.Items{}, RequiredKeys: map[string][]string{}}
	normalize()
	p.checkValues()
	read("pod", &c.Pod)
	read("secretsync", &c.syncVariables)
	c.convert(p)
	c.checkPod(p)
	c.checkSecrets(p)
	c.checkTargets(p)
	return c, p.join()
}

// SecretNames returns the names of all Secrets listed by name.
func (c *Config) SecretNames() []string { return slices.Concat(c.Secrets, c.OptionalSecrets) }

const httpAddr = "SECRETSYNC_HTTP_ADDR" // the only variable whose empty value has a meaning

// normalize trims the variables, and removes empty variables, because envconfig applies a
// default only to an unset variable.
func normalize() {
	for _, name := range variableNames() {
		value, set := os.LookupEnv(name)
		if value = strings.TrimSpace(value); value != "" || set && name == httpAddr {
			_ = os.Setenv(name, value)
		} else {
			_ = os.Unsetenv(name)
		}
	}
}

// read lets envconfig set the fields of variables. envconfig stops at a variable that it cannot
// parse. checkValues reports this variable, and read hides it and starts again, so the field
// gets its default. The error of envconfig contains the value and is never printed.
func read(prefix string, variables any) {
	var invalid *envconfig.ParseError
	for errors.As(envconfig.Process(prefix, variables), &invalid) {
		_ = os.Unsetenv(invalid.KeyName)
		defer os.Setenv(invalid.KeyName, invalid.Value)
	}
}

// variableNames returns the names of all variables, the first column of Help.
func variableNames() (names []string) {
	for line := range strings.Lines(Help) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	return names[1:]
}

// convert parses the variables that envconfig reads as text.
func (c *Config) convert(p problems) {
	text := &c.syncVariables
	c.Secrets = each(p, "SECRETSYNC_SECRETS", text.Secrets, "names of Secrets", parseName)
	c.OptionalSecrets = each(p, "SECRETSYNC_OPTIONAL_SECRETS", text.OptionalSecrets, "names of Secrets", parseName)
	parse(p, "SECRETSYNC_SELECTOR", text.Selector, "a label selector, such as app=db,tier in (a, b)", parseSelector)
	lists := c.Selector == "" && p["SECRETSYNC_SECRETS"] == nil && p["SECRETSYNC_OPTIONAL_SECRETS"] == nil
	listed := func(secret string, err error) (any, error) {
		if err == nil && lists && !slices.Contains(c.SecretNames(), secret) {
			err = errors.New("this Secret is neither in SECRETSYNC_SECRETS nor in SECRETSYNC_OPTIONAL_SECRETS")
		}
		return nil, err
	}
	each(p, "SECRETSYNC_ITEMS", text.Items, "secret/key=path, secret/key+key=path or secret/key=path:0600",
		func(entry string) (any, error) { return listed(c.Items.Add(entry, false)) })
	each(p, "SECRETSYNC_ENV_FILES", text.EnvFiles, "secret=path, secret/key+key=path or secret=path:0600",
		func(entry string) (any, error) { return listed(c.Items.Add(entry, true)) })
	each(p, "SECRETSYNC_REQUIRED_KEYS", text.RequiredKeys, "secret/key", func(entry string) (any, error) {
		secret, keys, err := layout.ParseKeys(entry, false)
		if err == nil {
			c.RequiredKeys[secret] = append(c.RequiredKeys[secret], keys...)
		}
		return listed(secret, err)
	})
	c.Dir = text.Dir[:1] + strings.TrimRight(text.Dir[1:], "/")
	c.FileMode, _ = parse(p, "SECRETSYNC_FILE_MODE", text.FileMode, "octal, such as 0640", layout.ParseMode)
	standard, _ := parse(p, "SECRETSYNC_SIGNAL", text.Signal, "a signal", process.ParseSignal)
	c.Processes = each(p, "SECRETSYNC_PROCESS", text.Process,
		"names of processes, each with :SIGNAL if it differs", parseTarget(standard, isProcessName))
	c.PIDFiles = each(p, "SECRETSYNC_PID_FILE", text.PIDFile,
		"absolute paths of files, each with :SIGNAL if it differs", parseTarget(standard, isFile))
	c.Webhooks = each(p, "SECRETSYNC_WEBHOOK_URL", text.WebhookURL,
		"http://host/path, https://host/path or unix:///path/to.sock:/url/path", webhook.ParseURL)
	c.Exec, _ = parse(p, "SECRETSYNC_EXEC", text.Exec,
		`a JSON array of strings, such as ["nginx","-s","reload"]`, exec.ParseCommand)
	if c.OneShot {
		c.HTTPAddr = "" // an init container ends before a client could connect
	}
}

// parse converts the text of a variable. ok is false if the variable is unset or invalid.
func parse[T any](p problems, name, text, allowed string, conversion func(string) (T, error)) (value T, ok bool) {
	if text == "" {
		return value, false
	}
	value, err := conversion(text)
	if err != nil {
		p.invalid(name, text, fmt.Errorf("%w; must be %s", err, allowed))
	}
	return value, err == nil
}

// each converts each entry of a comma-separated list, equal entries once. White space around an
// entry and a comma at the end are ignored.
func each[T any](p problems, name string, list List, allowed string, conversion func(string) (T, error)) (values []T) {
	allowed += ", comma-separated"
	var seen []string
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(list), ","), ",") {
		entry = strings.TrimSpace(entry)
		if list == "" || slices.Contains(seen, entry) {
			continue
		}
		seen = append(seen, entry)
		if entry == "" {
			p.invalid(name, string(list), errors.New("an entry is empty; must be "+allowed))
		} else if value, ok := parse(p, name, entry, allowed, conversion); ok {
			values = append(values, value)
		}
	}
	return values
}

func parseName(s string) (string, error) {
	if !isSubdomain(s) {
		return s, errors.New("not a valid name of a Secret (a-z, 0-9, - and ., at most 253 characters)")
	}
	return s, nil
}

// parseSelector rejects the empty selector, which selects every Secret.
func parseSelector(s string) (string, error) {
	selector, err := labels.Parse(s)
	if err != nil {
		err = fmt.Errorf("%q", err) // quoted: err contains a part of s
	} else if selector.Empty() {
		err = errors.New("it selects every Secret")
	}
	return s, err
}

// parseTarget returns a conversion of PROCESS or PROCESS:SIGNAL. A target without a signal of
// its own uses the standard signal.
func parseTarget(standard syscall.Signal, valid func(process string) bool) func(string) (SignalTarget, error) {
	seen := map[string]bool{}
	return func(entry string) (SignalTarget, error) {
		name, signal, err := process.ParseTarget(entry, standard)
		switch {
		case err != nil:
		case !valid(name):
			err = errors.New("not a valid entry")
		case seen[name]:
			err = fmt.Errorf("%.120q is listed twice", name)
		}
		seen[name] = true
		return SignalTarget{name, signal}, err
	}
}
