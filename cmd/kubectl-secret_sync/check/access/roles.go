// Package access compares the permissions of a service account with the permissions that its sidecars need.
package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
	"github.com/secret-sync/secret-sync/internal/kube"
)

// An Account is a service account.
type Account struct{ Namespace, Name string }

// user returns the name of the account for the authorization.
func (a Account) user() string { return "system:serviceaccount:" + a.Namespace + ":" + a.Name }

// groups returns the groups of the account.
func (a Account) groups() []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + a.Namespace, "system:authenticated"}
}

// A Binding gives the permissions of a Role or a ClusterRole to an account.
type Binding struct {
	*manifest.Object
	Role rbacv1.RoleRef
}

// Bindings returns the objects that bind a role to the account, itself or with its groups. defaultNamespace is the
// namespace of objects without a namespace. A RoleBinding counts only in the namespace of the account.
func (a Account) Bindings(objects []*manifest.Object, defaultNamespace string) (bound []Binding) {
	for _, o := range objects {
		var b rbacv1.RoleBinding
		namespace := cmp.Or(o.GetNamespace(), defaultNamespace)
		local := o.GetKind() == "RoleBinding" && namespace == a.Namespace
		if !local && o.GetKind() != "ClusterRoleBinding" || o.Into(&b) != nil {
			continue
		}
		if slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool { return a.is(s, namespace) }) {
			bound = append(bound, Binding{o, b.RoleRef})
		}
	}
	return bound
}

// is reports whether the account is a subject of a binding in a namespace.
func (a Account) is(s rbacv1.Subject, namespace string) bool {
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		return s.Name == a.Name && cmp.Or(s.Namespace, namespace) == a.Namespace
	case rbacv1.UserKind:
		return s.Name == a.user()
	}
	return s.Kind == rbacv1.GroupKind && slices.Contains(a.groups(), s.Name)
}

// A Grant is a rule of a role that is bound to the account.
type Grant struct {
	Role *manifest.Object
	Path manifest.Path
	rule rbacv1.PolicyRule
}

// Grants returns the rules of a role.
func Grants(role *manifest.Object) (all []Grant) {
	var content rbacv1.ClusterRole // a Role has the same fields
	if role.Into(&content) != nil {
		return nil
	}
	for i, rule := range content.Rules {
		all = append(all, Grant{role, manifest.Path{"rules", i}, rule})
	}
	return all
}

// Allow reports whether the grants contain the permission.
func Allow(grants []Grant, verb, resource, name string) bool {
	rule := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{verb}}
	if name != "" {
		rule.ResourceNames = []string{name}
	}
	ok, _ := validation.Covers(policyRules(grants), []rbacv1.PolicyRule{rule})
	return ok
}

// Missing returns the permissions that the grants lack, as YAML on a line.
func Missing(grants []Grant, need kube.RBAC) string {
	_, missing := validation.Covers(policyRules(grants), rules(need))
	return text(missing)
}

// Excess returns the grants that exceed the need. A role that does not concern Secrets is the app's own.
func Excess(grants []Grant, need kube.RBAC) (excess []Grant) {
	for _, g := range grants {
		parts := secretsOnly(g.rule)
		if slices.ContainsFunc(grants, func(other Grant) bool {
			return other.Role == g.Role && len(secretsOnly(other.rule)) > 0
		}) {
			parts = validation.BreakdownRule(g.rule)
		}
		if ok, _ := validation.Covers(rules(need), parts); !ok {
			excess = append(excess, g)
		}
	}
	return excess
}

// Text returns the rules of the minimal Role as YAML on a line.
func Text(need kube.RBAC) string { return text(rules(need)) }

func policyRules(grants []Grant) (all []rbacv1.PolicyRule) {
	for _, g := range grants {
		all = append(all, g.rule)
	}
	return all
}

// rules returns the rules of the minimal Role.
func rules(r kube.RBAC) []rbacv1.PolicyRule {
	document, _, _ := strings.Cut(r.YAML(), "---\n")
	var role rbacv1.Role
	if err := yaml.Unmarshal([]byte(document), &role); err != nil {
		panic("the Role is not YAML: " + err.Error())
	}
	return role.Rules
}

// secretsOnly returns the part of a rule that concerns Secrets.
func secretsOnly(rule rbacv1.PolicyRule) (secrets []rbacv1.PolicyRule) {
	for _, part := range validation.BreakdownRule(rule) {
		core := slices.Contains(part.APIGroups, "") || slices.Contains(part.APIGroups, "*")
		if core && (slices.Contains(part.Resources, "secrets") || slices.Contains(part.Resources, "*")) {
			secrets = append(secrets, part)
		}
	}
	return secrets
}

// text returns rules of the core group as YAML on a line.
func text(all []rbacv1.PolicyRule) string {
	var parts, names []string
	verbs := map[string]bool{}
	for _, rule := range all {
		if !slices.Contains(rule.Resources, "secrets") {
			parts = append(parts, fmt.Sprintf(`{apiGroups: [""], resources: [%s], verbs: [%s]}`,
				strings.Join(rule.Resources, ", "), strings.Join(rule.Verbs, ", ")))
			continue
		}
		names = append(names, rule.ResourceNames...)
		for _, verb := range rule.Verbs {
			verbs[verb] = true
		}
	}
	if len(verbs) > 0 {
		verb := kube.VerbList
		if !verbs[kube.VerbList] {
			verb = kube.VerbWatch
		}
		slices.Sort(names)
		parts = append(parts, kube.MissingRule(verb, slices.Compact(names)...))
	}
	return strings.Join(parts, " and ")
}
