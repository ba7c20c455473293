package watcher

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/watcher/kubeapi"
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
	return r.manifest(r.name(), r.rules())
}

// ForWait gives the least Role and RoleBinding of an account that runs
// `secret-sync wait`: for one Secret, or for all when the name is "". They are not
// called as those of YAML, so that one account can have both.
func (r RBAC) ForWait(secret string) string {
	rules := []string{
		"- " + strings.Join(rule("pods", nil, []string{kubeapi.VerbList, kubeapi.VerbWatch}), "\n  "),
		"# To ask the sidecars through the API server; it allows a GET at any port of these Pods.\n" +
			"# Not needed with --direct.\n- " + strings.Join(rule("pods/proxy", nil, []string{"get"}), "\n  "),
	}
	if secret == "" {
		rules = append(rules, "# Gives away EVERY Secret of the namespace: name the one that is waited for, with\n"+
			"# --secret NAME. Only its metadata is read, but RBAC knows no right to that alone.\n- "+
			strings.Join(rule("secrets", nil, []string{"get"}), "\n  "))
	} else {
		rules = append(rules, "# Only its metadata is read, but RBAC knows no right to that alone.\n- "+
			strings.Join(rule("secrets", []string{secret}, []string{"get"}), "\n  "))
	}
	return r.manifest("secret-sync-wait-"+r.ServiceAccount, rules)
}

// manifest gives a Role with these rules, and its RoleBinding.
func (r RBAC) manifest(name string, rules []string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role")
	line("metadata: {name: %s, namespace: %s}", quote(name), quote(r.Namespace))
	line("rules:")
	for _, rule := range rules {
		line("%s", rule)
	}
	line("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding")
	line("metadata: {name: %s, namespace: %s}", quote(name), quote(r.Namespace))
	line("roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %s}", quote(name))
	line("subjects:\n- {kind: ServiceAccount, name: %s, namespace: %s}", quote(r.ServiceAccount), quote(r.Namespace))
	return b.String()
}

func (r RBAC) rules() []string {
	var rules []string
	add := func(comment string, fields []string) {
		rules = append(rules, "# "+comment+"\n- "+strings.Join(fields, "\n  "))
	}
	verbs := []string{kubeapi.VerbList, kubeapi.VerbWatch}
	switch names := slices.Compact(slices.Sorted(slices.Values(r.Names))); {
	case r.Selector != "":
		add(fmt.Sprintf("Gives away EVERY Secret of the namespace, not only those that match %s:\n"+
			"# RBAC knows no label selectors. Name the Secrets instead if that is too much.", quote(r.Selector)),
			rule("secrets", nil, verbs))
	case len(names) > 0:
		add("These Secrets and no other, list and watch by name alone.", rule("secrets", names, verbs))
	}
	if r.Events {
		add("Events on the Pod.", rule("events", nil, []string{"create"}))
	}
	return rules
}

// rule gives the fields of a rule of the core API group, as lines of YAML.
func rule(resource string, names, verbs []string) []string {
	fields := []string{`apiGroups: [""]`, "resources: [" + resource + "]"}
	if len(names) > 0 {
		quoted := make([]string, len(names))
		for i, name := range names {
			quoted[i] = quote(name)
		}
		fields = append(fields, "resourceNames: ["+strings.Join(quoted, ", ")+"]")
	}
	return append(fields, "verbs: ["+strings.Join(verbs, ", ")+"]")
}

// missingRule gives the rule that a Role lacks, as one line of YAML, when verb was
// forbidden. Who may not watch may list: that request comes first.
func missingRule(verb, name string) string {
	verbs := []string{kubeapi.VerbList, kubeapi.VerbWatch}
	if verb == kubeapi.VerbWatch {
		verbs = verbs[1:]
	}
	var names []string
	if name != "" {
		names = []string{name}
	}
	return "{" + strings.Join(rule("secrets", names, verbs), ", ") + "}"
}

// quote makes a YAML string: a name may look like a number or a truth value.
func quote(s string) string { return fmt.Sprintf("%q", s) }
