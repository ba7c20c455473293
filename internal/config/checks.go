package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// checkPod reports missing names of the Pod.
func checkPod(p *problems, e *environment, c *Config) {
	if e.Namespace == "" {
		p.missingField("POD_NAMESPACE", "metadata.namespace", "")
	}
	if c.Events && e.Name == "" {
		p.missingField("POD_NAME", "metadata.name", "SECRETSYNC_EVENTS is true; ")
	}
	if c.Events && e.UID == "" {
		p.missingField("POD_UID", "metadata.uid", "SECRETSYNC_EVENTS is true; ")
	}
}

// checkSecrets reports an environment without any Secret, a Secret listed twice, and items
// and required keys of unlisted Secrets. The latter are typos, unless the selector may match
// these Secrets.
func checkSecrets(p *problems, e *environment, c *Config) {
	const required, optional = "SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS"
	if e.Secrets == "" && e.OptionalSecrets == "" && e.Selector == "" {
		p.missing(required, "at least one of SECRETSYNC_SECRETS, SECRETSYNC_OPTIONAL_SECRETS and "+
			"SECRETSYNC_SELECTOR must be set")
	}
	for _, secret := range c.OptionalSecrets {
		if slices.Contains(c.Secrets, secret) {
			p.invalid(optional, secret, errors.New("also in "+required+"; remove it there or here"))
		}
	}
	if e.Selector != "" || p.in(required) || p.in(optional) {
		return
	}
	check := func(name string, secrets []string) {
		for _, secret := range secrets {
			if !slices.Contains(c.SecretNames(), secret) {
				p.invalid(name, secret, errors.New("this Secret is neither in "+required+" nor in "+optional))
			}
		}
	}
	check("SECRETSYNC_ITEMS", slices.Sorted(maps.Keys(c.Items)))
	check("SECRETSYNC_REQUIRED_KEYS", slices.Sorted(maps.Keys(c.RequiredKeys)))
}

// checkWebhookFiles reports files that the webhooks cannot use.
func checkWebhookFiles(p *problems, c *Config) {
	check := func(name, file, problem string, unusable func(*webhook.URL) bool) {
		switch {
		case file == "" || p.in(name) || p.in("SECRETSYNC_WEBHOOK_URL"):
		case len(c.Webhooks) == 0:
			p.invalid(name, file, errors.New("SECRETSYNC_WEBHOOK_URL is not set"))
		case slices.ContainsFunc(c.Webhooks, unusable):
			p.invalid(name, file, errors.New("SECRETSYNC_WEBHOOK_URL contains "+problem))
		}
	}
	check("SECRETSYNC_WEBHOOK_CA_FILE", c.WebhookCAFile, "a URL that does not start with https://",
		func(u *webhook.URL) bool { return !u.IsTLS() })
	check("SECRETSYNC_WEBHOOK_TOKEN_FILE", c.WebhookTokenFile, "a URL with a user, which replaces the token",
		(*webhook.URL).HasUser)
}

// checkOneShot reports targets of an init container, which ends before the app starts.
func checkOneShot(p *problems, e *environment, c *Config) {
	var targets []string
	add := func(name string, set bool) {
		if set {
			targets = append(targets, name)
		}
	}
	add("SECRETSYNC_PROCESS", e.Process != "")
	add("SECRETSYNC_PID_FILE", e.PIDFile != "")
	add("SECRETSYNC_WEBHOOK_URL", e.WebhookURL != "")
	add("SECRETSYNC_EXEC", e.Exec != "")
	if c.OneShot && len(targets) > 0 {
		p.invalid("SECRETSYNC_ONE_SHOT", string(e.OneShot), errors.New(
			"an init container ends before the app starts and cannot notify it; unset "+strings.Join(targets, " and ")))
	}
}
