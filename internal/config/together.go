package config

import (
	"maps"
	"slices"
	"strings"
)

// together finds what is wrong with variables that are right each for itself.
func (r *reader) together(c Config) {
	r.sources(c)
	r.references(c)
	r.targets(c)
	if c.Events {
		for variable, field := range map[string]string{podName: "metadata.name", podUID: "metadata.uid"} {
			if r.get(variable) == "" {
				r.missing(variable, "is not set, and "+prefix+"EVENTS is true", "the Pod's "+field, field)
			}
		}
	}
}

// sources wants at least one Secret, and every name in one list only.
func (r *reader) sources(c Config) {
	const secrets, optional, selector = prefix + "SECRETS", prefix + "OPTIONAL_SECRETS", prefix + "SELECTOR"
	if r.get(secrets) == "" && r.get(optional) == "" && r.get(selector) == "" {
		r.hidden(secrets, "is not set, nor is "+optional+" or "+selector, mayName+"; at least one of the three is needed")
	}
	for _, name := range c.OptionalSecrets {
		if slices.Contains(c.Secrets, name) {
			r.wrong(optional, name, "it is in "+secrets+" too", mayName+", that are not in "+secrets)
		}
	}
}

// references wants every Secret that ITEMS and REQUIRED_KEYS speak of to be
// watched: another name is a typo, unless the selector may bring it.
func (r *reader) references(c Config) {
	if c.Selector != "" || r.mistaken(prefix+"SECRETS") || r.mistaken(prefix+"OPTIONAL_SECRETS") {
		return
	}
	watched := slices.Concat(c.Secrets, c.OptionalSecrets)
	check := func(variable, name, may string) {
		if !slices.Contains(watched, name) {
			r.wrong(variable, name, "no such Secret in "+prefix+"SECRETS or "+prefix+"OPTIONAL_SECRETS, and there is no selector", may)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Items)) {
		check(prefix+"ITEMS", name, mayItems)
	}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredKeys)) {
		check(prefix+"REQUIRED_KEYS", name, mayKeys)
	}
}

func (r *reader) mistaken(variable string) bool {
	return slices.ContainsFunc(r.mistakes, func(m Mistake) bool { return m.Variable == variable })
}

func (r *reader) targets(c Config) {
	const process, pidFile, webhook, exec = prefix + "PROCESS", prefix + "PID_FILE", prefix + "WEBHOOK_URL", prefix + "EXEC"
	if c.Process != "" && c.PIDFile != "" {
		r.wrong(pidFile, c.PIDFile, process+" is set too", "nothing beside "+process)
	}
	if c.WebhookURL == "" {
		for _, variable := range []string{prefix + "WEBHOOK_CA_FILE", prefix + "WEBHOOK_TOKEN_FILE"} {
			if r.get(variable) != "" && !r.mistaken(variable) {
				r.wrong(variable, r.get(variable), webhook+" is not set", "nothing without "+webhook)
			}
		}
	}
	if !c.OneShot {
		return
	}
	var set []string
	for _, target := range []string{process, pidFile, webhook, exec} {
		if r.get(target) != "" {
			set = append(set, target)
		}
	}
	if len(set) > 0 {
		r.wrong(prefix+"ONE_SHOT", r.get(prefix+"ONE_SHOT"),
			"an init container has nobody to notify, but there is "+strings.Join(set, " and "), "false, or true without them")
	}
}
