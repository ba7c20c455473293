package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// check finds what is wrong with variables that are each right by themselves.
func (c *Config) check(all []*variable) {
	c.checkSources()
	c.checkReferences()
	var targets []string
	for _, v := range all {
		switch {
		case v.text == "" && v.has("required"):
			v.missing("the Pod's " + v.tag.Get("downward"))
		case v.text == "" && v.has("downward") && c.Events.Value:
			v.missing(c.Events.name + " is true, and needs the Pod's " + v.tag.Get("downward"))
		case v.text != "" && v.has("target"):
			targets = append(targets, v.name)
		}
	}
	// An init container ends before the app starts.
	if c.OneShot.Value && len(targets) > 0 {
		c.OneShot.reject(c.OneShot.text, "an init container has nobody to notify, but there is "+strings.Join(targets, " and "),
			"false, or true without them")
	}
	c.checkWebhook(&c.WebhookCAFile, "has a URL that is not https://", func(u *webhook.URL) bool { return !u.IsTLS() })
	c.checkWebhook(&c.WebhookTokenFile, "has a URL with a user, and one request has one authorization", (*webhook.URL).HasUser)
}

// checkWebhook wants URLs for a file to be used with, and none that it cannot be used
// with.
func (c *Config) checkWebhook(f *file, problem string, cannot func(*webhook.URL) bool) {
	switch {
	case f.text == "" || len(f.problems) > 0:
	case c.WebhookURL.text == "":
		f.reject(f.text, c.WebhookURL.name+" is not set", "unset without it")
	case slices.ContainsFunc(c.WebhookURL.Value, cannot):
		f.reject(f.text, c.WebhookURL.name+" "+problem, "unset with it")
	}
}

// checkSources wants at least one Secret, and every name in one list only.
func (c *Config) checkSources() {
	required, optional := &c.Secrets, &c.OptionalSecrets
	if required.text == "" && optional.text == "" && c.Selector.text == "" {
		required.missing(allowedNames + "; at least one of the three is needed: it, " + optional.name + " or " + c.Selector.name)
	}
	for _, secret := range optional.Value {
		if slices.Contains(required.Value, secret) {
			optional.reject(secret, "it is in "+required.name+" too", allowedNames+", that are not in "+required.name)
		}
	}
}

// checkReferences wants every Secret that ITEMS and REQUIRED_KEYS name to be
// watched: another name is a typo, unless the selector may bring the Secret.
func (c *Config) checkReferences() {
	required, optional := &c.Secrets, &c.OptionalSecrets
	if c.Selector.text != "" || len(required.problems)+len(optional.problems) > 0 {
		return
	}
	check := func(v *variable, secrets []string, allowed string) {
		for _, secret := range secrets {
			if !slices.Contains(required.Value, secret) && !slices.Contains(optional.Value, secret) {
				v.reject(secret, "no such Secret in "+required.name+" or "+optional.name+", and there is no selector", allowed)
			}
		}
	}
	check(c.Items.common(), slices.Sorted(maps.Keys(c.Items.Value)), allowedItems)
	check(c.RequiredKeys.common(), slices.Sorted(maps.Keys(c.RequiredKeys.Value)), allowedKeys)
}
