package kube

import (
	"fmt"
	"slices"
	"strings"
)

// RBAC is what a Role has to allow.
type RBAC struct {
	Namespace      string
	ServiceAccount string   // in that namespace
	Names          []string // as in Options
	Selector       string   // as in Options
	Events         bool     // Events are written
}

// name is that of both objects: accounts of one namespace do not share them.
func (r RBAC) name() string {
	if r.ServiceAccount == "secret-sync" {
		return r.ServiceAccount
	}
	return "secret-sync-" + r.ServiceAccount
}

// YAML gives the least Role and its RoleBinding, both named after the account.
//
// A name is allowed by a rule with resourceNames: the API server takes a list
// or watch with the field selector metadata.name=NAME for that. It never does
// so for a label selector, so that one needs the whole namespace, and then
// makes rules for names superfluous. A get is never made.
func (r RBAC) YAML() string {
	return r.manifest(r.name(), r.rules()...)
}

// ForWait gives the least Role and RoleBinding of an account that runs
// `secret-sync wait`: for one Secret, or for all when the name is "". They are not
// called as those of YAML, so that one account can have both.
func (r RBAC) ForWait(secret string) string {
	get := []string{"get"}
	metadata := rule{"Only its metadata is read, but RBAC knows no right to that alone.", "secrets", []string{secret}, get}
	if secret == "" {
		metadata.names = nil
		metadata.comment = "Gives away EVERY Secret of the namespace: name the one that is waited for, with\n# --secret NAME. " + metadata.comment
	}
	return r.manifest("secret-sync-wait-"+r.ServiceAccount,
		rule{"To see which Pods there are.", "pods", nil, listAndWatch},
		rule{"To ask the sidecars through the API server; it allows a GET at any port of these Pods.\n" +
			"# Not needed with --direct.", "pods/proxy", nil, get},
		metadata)
}

// manifest gives a Role with these rules, and its RoleBinding.
func (r RBAC) manifest(name string, rules ...rule) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role")
	line("metadata: {name: %s, namespace: %s}", quote(name), quote(r.Namespace))
	line("rules:")
	for _, rule := range rules {
		line("# %s\n- %s", rule.comment, strings.Join(rule.fields(), "\n  "))
	}
	line("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding")
	line("metadata: {name: %s, namespace: %s}", quote(name), quote(r.Namespace))
	line("roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %s}", quote(name))
	line("subjects:\n- {kind: ServiceAccount, name: %s, namespace: %s}", quote(r.ServiceAccount), quote(r.Namespace))
	return b.String()
}

func (r RBAC) rules() (all []rule) {
	switch names := slices.Compact(slices.Sorted(slices.Values(r.Names))); {
	case r.Selector != "":
		all = append(all, rule{fmt.Sprintf("Gives away EVERY Secret of the namespace, not only those that match %s:\n"+
			"# RBAC knows no label selectors. Name the Secrets instead if that is too much.", quote(r.Selector)), "secrets", nil, listAndWatch})
	case len(names) > 0:
		all = append(all, rule{"These Secrets and no other, list and watch by name alone.", "secrets", names, listAndWatch})
	}
	if r.Events {
		all = append(all, rule{"Events on the Pod.", "events", nil, []string{"create"}})
	}
	return all
}

var listAndWatch = []string{VerbList, VerbWatch}

// rule is one of a Role, for the core API group.
type rule struct {
	comment, resource string
	names, verbs      []string // names: nil for all
}

// fields gives the fields as lines of YAML.
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

// MissingRule returns the rule that a Role lacks, as one line of YAML, when verb was
// forbidden. Who may not watch may list: that request comes first.
func MissingRule(verb, name string) string {
	missing := rule{resource: "secrets", verbs: listAndWatch}
	if verb == VerbWatch {
		missing.verbs = listAndWatch[1:]
	}
	if name != "" {
		missing.names = []string{name}
	}
	return "{" + strings.Join(missing.fields(), ", ") + "}"
}

// quote makes a YAML string: a name may look like a number or a truth value.
func quote(s string) string { return fmt.Sprintf("%q", s) }
