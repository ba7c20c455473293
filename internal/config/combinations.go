package config

import (
	"maps"
	"slices"
	"strings"
)

// check finds what is wrong with variables that are each right by themselves.
func (c *Config) check(all []*variable) {
	c.checkPod()
	c.checkSources()
	c.checkReferences()
	c.checkTargets()
	c.checkOneShot(all)
}

// checkPod wants what the downward API gives.
func (c *Config) checkPod() {
	if c.Namespace.text == "" {
		c.Namespace.missing("is not set", "the Pod's namespace")
	}
	for _, v := range []*variable{c.PodName.common(), c.PodUID.common()} {
		if c.Events.Value && v.text == "" {
			v.missing("is not set, and "+c.Events.name+" is true", "the Pod's "+v.tag.Get("downward"))
		}
	}
}

// checkSources wants at least one Secret, and every name in one list only.
func (c *Config) checkSources() {
	required, optional := &c.Secrets, &c.OptionalSecrets
	if required.text == "" && optional.text == "" && c.Selector.text == "" {
		required.missing("is not set, nor is "+optional.name+" or "+c.Selector.name,
			allowedNames+"; at least one of the three is needed")
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
	if c.Selector.text != "" || len(required.mistakes)+len(optional.mistakes) > 0 {
		return
	}
	problem := "no such Secret in " + required.name + " or " + optional.name + ", and there is no selector"
	unwatched := func(secret string) bool {
		return !slices.Contains(required.Value, secret) && !slices.Contains(optional.Value, secret)
	}
	for _, secret := range slices.Sorted(maps.Keys(c.Items.Value)) {
		if unwatched(secret) {
			c.Items.reject(secret, problem, allowedItems)
		}
	}
	for _, secret := range slices.Sorted(maps.Keys(c.RequiredKeys.Value)) {
		if unwatched(secret) {
			c.RequiredKeys.reject(secret, problem, allowedKeys)
		}
	}
}

func (c *Config) checkTargets() {
	for _, v := range []*variable{c.WebhookCAFile.common(), c.WebhookTokenFile.common()} {
		if v.text != "" && c.WebhookURL.text == "" && len(v.mistakes) == 0 {
			v.reject(v.text, c.WebhookURL.name+" is not set", "nothing without "+c.WebhookURL.name)
		}
	}
}

// checkOneShot wants no target: an init container ends before the app starts.
func (c *Config) checkOneShot(all []*variable) {
	var targets []string
	for _, v := range all {
		if v.has("target") && v.text != "" {
			targets = append(targets, v.name)
		}
	}
	if c.OneShot.Value && len(targets) > 0 {
		c.OneShot.reject(c.OneShot.text, "an init container has nobody to notify, but there is "+strings.Join(targets, " and "),
			"false, or true without them")
	}
}
