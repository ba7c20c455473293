package kube

import (
	"reflect"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func TestRBAC(t *testing.T) {
	watchVerbs := []string{"list", "watch"}
	events := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}}
	for _, c := range []struct {
		name string
		in   RBAC
		want []rbacv1.PolicyRule
	}{
		{"names that look like other types", RBAC{Names: []string{"true", "db", "123", "db", "1e3"}},
			[]rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"secrets"},
					ResourceNames: []string{"123", "1e3", "db", "true"},
					Verbs:         watchVerbs}}},
		{"selector", RBAC{Selector: "app in (web,api)"}, []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: watchVerbs}}},
		{"both, with events", RBAC{Names: []string{"db"}, Selector: "a=b", Events: true}, []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: watchVerbs}, events}},
		{"names, with events", RBAC{Names: []string{"db"}, Events: true}, []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"db"}, Verbs: watchVerbs},
			events}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Namespace, c.in.ServiceAccount = "007", "app"
			text := c.in.YAML()
			documents := strings.Split(text, "---\n")
			var role rbacv1.Role
			var binding rbacv1.RoleBinding
			if len(documents) != 2 {
				t.Fatalf("got %d documents:\n%s", len(documents), text)
			}
			if err := yaml.UnmarshalStrict([]byte(documents[0]), &role); err != nil {
				t.Fatalf("role: %v\n%s", err, text)
			}
			if err := yaml.UnmarshalStrict([]byte(documents[1]), &binding); err != nil {
				t.Fatalf("binding: %v\n%s", err, text)
			}
			if !reflect.DeepEqual(role.Rules, c.want) {
				t.Errorf("rules: got %v, want %v", role.Rules, c.want)
			}
			wantRef := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}
			wantSubjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "app", Namespace: "007"}}
			if binding.RoleRef != wantRef || !reflect.DeepEqual(binding.Subjects, wantSubjects) {
				t.Errorf("binding: got %v %v", binding.RoleRef, binding.Subjects)
			}
			if role.Namespace != "007" || binding.Namespace != "007" || role.Name != "secret-sync-app" ||
				binding.Name != "secret-sync-app" {
				t.Errorf("got %s/%s and %s/%s", role.Namespace, role.Name, binding.Namespace, binding.Name)
			}
			if got := strings.Contains(text, "EVERY Secret"); got != (c.in.Selector != "") {
				t.Errorf("warning about every Secret: got %v:\n%s", got, text)
			}
		})
	}
}

// TestRBAC_names: two accounts do not share objects.
func TestRBAC_names(t *testing.T) {
	for account, want := range map[string]string{"secret-sync": "secret-sync", "app": "secret-sync-app",
		"web": "secret-sync-web"} {
		text := RBAC{Namespace: "ns", ServiceAccount: account, Names: []string{"db"}}.YAML()
		if got := strings.Count(text, `name: "`+want+`", namespace`) +
			strings.Count(text, `kind: Role, name: "`+want+`"}`); got < 3 {
			t.Errorf("%s: got %d names %q, want the names of both objects and of the reference:\n%s", account, got,
				want, text)
		}
	}
}
