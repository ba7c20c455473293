// Package config reads the environment, the only configuration of secret-sync.
//
// envconfig reads the variables and applies the defaults. convert parses the variables that
// envconfig cannot parse. All mistakes are collected, and no error contains a possibly secret
// value.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// Config is the configuration of secret-sync. docs/configuration.md describes the variables. A
// field of Config hides the text of the variable with the same name.
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

// Load reads the environment. Its error joins a *Problem for each mistake, in the order of
// the variables. Load returns a Config even with an error: the commands ready and status
// use a variable or two and must not fail because of the others.
func Load() (*Config, error) {
	p, c := &problems{}, &Config{Items: layout.Items{}, RequiredKeys: map[string][]string{}}
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

// convert parses the variables that envconfig reads as text.
func (c *Config) convert(p *problems) {
	text := &c.syncVariables
	c.Secrets = parseNames(p, "SECRETSYNC_SECRETS", text.Secrets)
	c.OptionalSecrets = parseNames(p, "SECRETSYNC_OPTIONAL_SECRETS", text.OptionalSecrets)
	_ = parse(p, "SECRETSYNC_SELECTOR", text.Selector, "a label selector, such as app=db,tier in (a, b)", parseSelector)
	each(p, "SECRETSYNC_ITEMS", text.Items, "secret/key=path, secret/key+key=path or secret/key=path:0600",
		func(entry string) error { return c.Items.Add(entry, false) })
	each(p, "SECRETSYNC_ENV_FILES", text.EnvFiles, "secret=path, secret/key+key=path or secret=path:0600",
		func(entry string) error { return c.Items.Add(entry, true) })
	each(p, "SECRETSYNC_REQUIRED_KEYS", text.RequiredKeys, "secret/key", func(entry string) error {
		secret, keys, err := layout.ParseKeys(entry)
		if err == nil {
			c.RequiredKeys[secret] = append(c.RequiredKeys[secret], keys...)
		}
		return err
	})
	c.Dir = text.Dir[:1] + strings.TrimRight(text.Dir[1:], "/")
	c.FileMode = parse(p, "SECRETSYNC_FILE_MODE", text.FileMode, "", layout.ParseMode)
	standard := parse(p, "SECRETSYNC_SIGNAL", text.Signal, "", process.ParseSignal)
	c.Processes = parseTargets(p, "SECRETSYNC_PROCESS", text.Process, standard, "names of processes", isProcessName)
	c.PIDFiles = parseTargets(p, "SECRETSYNC_PID_FILE", text.PIDFile, standard, "absolute paths of files", isFile)
	each(p, "SECRETSYNC_WEBHOOK_URL", text.WebhookURL,
		"http://host/path, https://host/path or unix:///path/to.sock:/url/path", func(entry string) error {
			url, err := webhook.ParseURL(entry)
			if err == nil {
				c.Webhooks = append(c.Webhooks, url)
			}
			return err
		})
	c.Exec = parse(p, "SECRETSYNC_EXEC", text.Exec,
		`a JSON array of strings, such as ["nginx","-s","reload"]`, exec.ParseCommand)
	if c.OneShot {
		c.HTTPAddr = "" // an init container ends before a client could connect
	}
}

// parse converts the text of a variable. An unset variable has the zero value.
func parse[T any](p *problems, name, text, allowed string, conversion func(string) (T, error)) (value T) {
	if text == "" {
		return value
	}
	value, err := conversion(text)
	if err != nil && allowed != "" {
		err = fmt.Errorf("%w; must be %s", err, allowed)
	}
	if err != nil {
		p.invalid(name, text, err)
	}
	return value
}

// parseSelector rejects the empty selector, which selects every Secret.
func parseSelector(s string) (labels.Selector, error) {
	selector, err := labels.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q", err) // quoted: err contains a part of s
	}
	if selector.Empty() {
		return nil, errors.New("it selects every Secret")
	}
	return selector, nil
}

// each calls add for each entry of a comma-separated list, once for equal entries, and records
// errors of add as problems. White space around an entry and a comma at the end are ignored.
func each(p *problems, name string, list List, allowed string, add func(entry string) error) {
	var seen []string
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(list), ","), ",") {
		entry = strings.TrimSpace(entry)
		if list == "" || slices.Contains(seen, entry) {
			continue
		}
		seen = append(seen, entry)
		err := errors.New("an entry is empty")
		if entry != "" {
			err = add(entry)
		}
		if err != nil {
			p.invalid(name, cmp.Or(entry, string(list)), fmt.Errorf("%w; must be %s, comma-separated", err, allowed))
		}
	}
}

func parseNames(p *problems, name string, list List) (secrets []string) {
	each(p, name, list, "names of Secrets", func(entry string) error {
		if !isSubdomain(entry) {
			return errors.New("not a valid name of a Secret (a-z, 0-9, - and ., at most 253 characters)")
		}
		secrets = append(secrets, entry)
		return nil
	})
	return secrets
}

// parseTargets splits entries of the form PROCESS or PROCESS:SIGNAL. A target without a
// signal of its own uses the standard signal.
func parseTargets(
	p *problems, name string, list List, standard syscall.Signal, allowed string, valid func(process string) bool,
) (targets []SignalTarget) {
	each(p, name, list, allowed+", each with :SIGNAL if it differs", func(entry string) error {
		of, signal, err := process.ParseTarget(entry, standard)
		switch {
		case err != nil:
			return err
		case !valid(of):
			return errors.New("not a valid entry")
		case slices.ContainsFunc(targets, func(other SignalTarget) bool { return other.Process == of }):
			return fmt.Errorf("%.120q is listed twice", of)
		}
		targets = append(targets, SignalTarget{of, signal})
		return nil
	})
	return targets
}
