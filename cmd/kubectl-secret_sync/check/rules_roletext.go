package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// A grant is a rule of a Role in the input that is bound to the service account.
type grant struct {
	role *Object
	path path
	rule rbacv1.PolicyRule
}

// checkRoleText compares the Roles of the input with the permissions that the sidecar needs.
func checkRoleText(c *checker, need kube.RBAC) {
	grants, bound, complete := c.grants()
	if !bound {
		c.add(Warning, "role", c.accountPath(),
			fmt.Sprintf("the input contains no RoleBinding for service account %s", c.account()),
			"add the output of `kubectl secret-sync rbac`, or check the workload in the cluster")
		return
	}
	var given []rbacv1.PolicyRule
	for _, g := range grants {
		given = append(given, g.rule)
	}
	required := rules(need)
	if ok, missing := validation.Covers(given, required); !ok && complete {
		addMissing(c, text(missing))
	}
	shared := rules(c.shared(need))
	for _, g := range grants {
		parts := secretsOnly(g.rule)
		if sidecarRole := slices.ContainsFunc(grants, func(other grant) bool {
			return other.role == g.role && len(secretsOnly(other.rule)) > 0
		}); sidecarRole { // another Role may be the app's own
			parts = validation.BreakdownRule(g.rule)
		}
		if ok, _ := validation.Covers(shared, parts); !ok {
			c.addTo(g.role, Warning, "role-too-wide", g.path, "the rule grants more than the sidecar needs",
				"use only the rule "+text(shared))
		}
	}
}

// shared adds the permissions that other workloads of the input need for the same account.
func (c *checker) shared(need kube.RBAC) kube.RBAC {
	for _, o := range c.Objects {
		w, err := newWorkload(o, c.Input.Namespace)
		if err != nil || w == nil || w.namespace != need.Namespace || w.account() != need.ServiceAccount {
			continue
		}
		other, _ := w.need()
		need.Names = append(need.Names, other.Names...)
		need.Selector = cmp.Or(need.Selector, other.Selector)
		need.Events = need.Events || other.Events
	}
	return need
}

// grants returns the rules of the account. bound reports whether a binding of the input names
// the account, and complete whether the input contains the Role of each such binding.
func (c *checker) grants() (all []grant, bound, complete bool) {
	complete = true
	for _, o := range c.Objects {
		var binding rbacv1.RoleBinding
		if o.GetKind() != "RoleBinding" && o.GetKind() != "ClusterRoleBinding" || o.into(&binding) != nil ||
			!c.names(o, binding.Subjects) {
			continue
		}
		bound = true
		namespace := ""
		if binding.RoleRef.Kind == "Role" {
			namespace = c.namespace
		}
		role := c.object(binding.RoleRef.Kind, namespace, binding.RoleRef.Name)
		if role == nil {
			complete = false
			c.addTo(o, Note, "unknown", path{"roleRef"},
				fmt.Sprintf("the input does not contain the %s %s", binding.RoleRef.Kind, binding.RoleRef.Name),
				"check the workload in the cluster")
			continue
		}
		var content rbacv1.Role
		if role.into(&content) == nil {
			for i, rule := range content.Rules {
				all = append(all, grant{role, path{"rules", i}, rule})
			}
		}
	}
	return all, bound, complete
}

// names reports whether the subjects of a binding contain the service account of the Pod. A
// RoleBinding counts only in the namespace of the Pod.
func (c *checker) names(binding *Object, subjects []rbacv1.Subject) bool {
	namespace := cmp.Or(binding.GetNamespace(), c.Input.Namespace)
	if binding.GetKind() == "RoleBinding" && namespace != c.namespace {
		return false
	}
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Name == c.account() &&
			cmp.Or(s.Namespace, namespace) == c.namespace
	})
}

// rules returns the rules of the minimal Role.
func rules(r kube.RBAC) []rbacv1.PolicyRule {
	manifest, _, _ := strings.Cut(r.YAML(), "---\n")
	var role rbacv1.Role
	if err := yaml.Unmarshal([]byte(manifest), &role); err != nil {
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
