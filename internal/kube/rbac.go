package kube

import (
	"fmt"
	"slices"
	"strings"
)

// RBAC describes the permissions of a service account.
type RBAC struct {
	Namespace      string
	ServiceAccount string   // in Namespace
	Names          []string // Secrets watched by name
	Selector       string   // label selector for Secrets, "" for none
	Events         bool     // permission to create Events
}

// YAML returns the minimal Role of a sidecar and its RoleBinding. The name of both contains the service account, so two
// accounts in a namespace do not overwrite each other's objects. A rule with resourceNames allows list and watch by
// name. RBAC cannot filter by label, so a selector needs access to every Secret in the namespace.
func (r RBAC) YAML() string {
	var rules []rule
	switch names := slices.Compact(slices.Sorted(slices.Values(r.Names))); {
	case r.Selector != "":
		comment := fmt.Sprintf("Grants access to EVERY Secret in the namespace, not only to matches of %q:\n"+
			"# RBAC cannot filter by label. To restrict it, list the Secrets by name.", r.Selector)
		rules = append(rules, rule{comment, "secrets", nil, listAndWatch})
	case len(names) > 0:
		rules = append(rules, rule{"Allows list and watch of these Secrets, by name only.", "secrets", names,
			listAndWatch})
	}
	if r.Events {
		rules = append(rules, rule{"Events on the Pod.", "events", nil, []string{"create"}})
	}
	name := "secret-sync"
	if r.ServiceAccount != name {
		name += "-" + r.ServiceAccount
	}
	return r.manifest(name, rules...)
}

// ForWait returns the minimal Role and RoleBinding of an account for `secret-sync wait` on a Secret, or for every
// Secret if secret is "". The names of the objects differ from the names in YAML, so an account can have both.
func (r RBAC) ForWait(secret string) string {
	names, warning := []string{secret}, ""
	if secret == "" {
		names, warning = nil, "Grants access to EVERY Secret in the namespace. To restrict it to a single "+
			"Secret, use\n# --secret NAME. "
	}
	get := []string{"get"}
	return r.manifest("secret-sync-wait-"+r.ServiceAccount,
		rule{"Find the Pods.", "pods", nil, listAndWatch},
		rule{"Query the sidecars through the API server. Allows a GET to any port of these Pods.\n" +
			"# Not needed with --direct.", "pods/proxy", nil, get},
		rule{warning + "wait compares the data with the data that it read before, and shows none of it.",
			"secrets", names, get})
}

// manifest returns a Role with the rules, and its RoleBinding. A name may look like a number or a truth value, so it is
// in quotes.
func (r RBAC) manifest(name string, rules ...rule) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	object := func(kind string) {
		line("apiVersion: rbac.authorization.k8s.io/v1\nkind: %s", kind)
		line("metadata: {name: %q, namespace: %q, labels: {app.kubernetes.io/name: secret-sync}}", name, r.Namespace)
	}
	object("Role")
	line("rules:")
	for _, rule := range rules {
		line("# %s\n- %s", rule.comment, strings.Join(rule.fields(), "\n  "))
	}
	line("---")
	object("RoleBinding")
	line("roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %q}", name)
	line("subjects:\n- {kind: ServiceAccount, name: %q, namespace: %q}", r.ServiceAccount, r.Namespace)
	return b.String()
}

var listAndWatch = []string{VerbList, VerbWatch}

type rule struct {
	comment, resource string
	names, verbs      []string // names is nil for all names
}

// fields returns the fields of the rule as lines of YAML.
func (r rule) fields() []string {
	fields := []string{`apiGroups: [""]`, "resources: [" + r.resource + "]"}
	if len(r.names) > 0 {
		fields = append(fields, `resourceNames: ["`+strings.Join(r.names, `", "`)+`"]`)
	}
	return append(fields, "verbs: ["+strings.Join(r.verbs, ", ")+"]")
}

// MissingRule returns the rule to add after a 403 for verb on the named Secrets, or on all Secrets if there are no
// names. After a 403 for the watch, only the verb watch is missing.
func MissingRule(verb string, names ...string) string {
	verbs := listAndWatch[slices.Index(listAndWatch, verb):]
	return "{" + strings.Join(rule{resource: "secrets", names: names, verbs: verbs}.fields(), ", ") + "}"
}
