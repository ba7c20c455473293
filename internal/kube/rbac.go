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

// YAML returns the minimal Role of a sidecar and its RoleBinding.
//
// A rule with resourceNames allows list and watch for the field selector
// metadata.name=NAME. RBAC cannot filter by label, so a selector needs access to every
// Secret in the namespace, which includes the Secrets watched by name.
func (r RBAC) YAML() string {
	return r.manifest(r.name(), r.rules()...)
}

// name returns the name of both objects. It contains the service account, so two
// accounts in a namespace do not overwrite each other's objects.
func (r RBAC) name() string {
	if r.ServiceAccount == "secret-sync" {
		return r.ServiceAccount
	}
	return "secret-sync-" + r.ServiceAccount
}

// ForWait returns the minimal Role and RoleBinding of an account for `secret-sync wait` on a
// Secret, or for every Secret if secret is "". The names of the objects differ from the names
// in YAML, so an account can have both.
func (r RBAC) ForWait(secret string) string {
	get := []string{"get"}
	secrets := rule{"wait compares the data with the data that it read before, and shows none of it.", "secrets", []string{secret}, get}
	if secret == "" {
		secrets.names = nil
		secrets.comment = "Grants access to EVERY Secret in the namespace. To restrict it to a single Secret, use\n" +
			"# --secret NAME. " + secrets.comment
	}
	return r.manifest("secret-sync-wait-"+r.ServiceAccount,
		rule{"Find the Pods.", "pods", nil, listAndWatch},
		rule{"Query the sidecars through the API server. Allows a GET to any port of these Pods.\n" +
			"# Not needed with --direct.", "pods/proxy", nil, get},
		secrets)
}

// manifest returns a Role with the rules, and its RoleBinding.
func (r RBAC) manifest(name string, rules ...rule) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role")
	line("metadata: {name: %s, namespace: %s, labels: {app.kubernetes.io/name: secret-sync}}", quote(name), quote(r.Namespace))
	line("rules:")
	for _, rule := range rules {
		line("# %s\n- %s", rule.comment, strings.Join(rule.fields(), "\n  "))
	}
	line("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding")
	line("metadata: {name: %s, namespace: %s, labels: {app.kubernetes.io/name: secret-sync}}", quote(name), quote(r.Namespace))
	line("roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %s}", quote(name))
	line("subjects:\n- {kind: ServiceAccount, name: %s, namespace: %s}", quote(r.ServiceAccount), quote(r.Namespace))
	return b.String()
}

func (r RBAC) rules() (all []rule) {
	switch names := slices.Compact(slices.Sorted(slices.Values(r.Names))); {
	case r.Selector != "":
		comment := "Grants access to EVERY Secret in the namespace, not only to matches of " + quote(r.Selector) + ":\n" +
			"# RBAC cannot filter by label. To restrict it, list the Secrets by name."
		all = append(all, rule{comment, "secrets", nil, listAndWatch})
	case len(names) > 0:
		all = append(all, rule{"Allows list and watch of these Secrets, by name only.", "secrets", names, listAndWatch})
	}
	if r.Events {
		all = append(all, rule{"Events on the Pod.", "events", nil, []string{"create"}})
	}
	return all
}

var listAndWatch = []string{VerbList, VerbWatch}

// A rule is a rule of a Role, for the core API group.
type rule struct {
	comment, resource string
	names, verbs      []string // names is nil for all names
}

// fields returns the fields of the rule as lines of YAML.
func (r rule) fields() []string {
	fields := []string{`apiGroups: [""]`, "resources: [" + r.resource + "]"}
	if len(r.names) > 0 {
		quoted := make([]string, len(r.names))
		for i, name := range r.names {
			quoted[i] = quote(name)
		}
		fields = append(fields, "resourceNames: ["+strings.Join(quoted, ", ")+"]")
	}
	return append(fields, "verbs: ["+strings.Join(r.verbs, ", ")+"]")
}

// MissingRule returns the rule to add after a 403 for verb on the named Secrets, or on all
// Secrets if there are no names. A watch follows a list, so after a 403 for the watch only
// the verb watch is missing.
func MissingRule(verb string, names ...string) string {
	missing := rule{resource: "secrets", names: names, verbs: listAndWatch}
	if verb == VerbWatch {
		missing.verbs = listAndWatch[1:]
	}
	return "{" + strings.Join(missing.fields(), ", ") + "}"
}

// quote returns s as a YAML string. A name may look like a number or a truth value.
func quote(s string) string { return fmt.Sprintf("%q", s) }
