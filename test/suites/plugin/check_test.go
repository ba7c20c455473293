package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const examples = "../../../examples/"

// newApp returns a scene with the Deployment of the examples, which requires a key.
func newApp(t *testing.T) *st.Scene {
	t.Helper()
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.Restrict()
	manifest := strings.Replace(st.Read(t, examples+"pod/deployment.yaml"),
		"        - {name: SECRETSYNC_SIGNAL, value: HUP}\n",
		"        - {name: SECRETSYNC_REQUIRED_KEYS, value: db/password}\n"+
			"        - {name: SECRETSYNC_EVENTS, value: \"true\"}\n", 1)
	s.Apply([]byte(manifest))
	return s
}

// TestCheck_cluster: check reads the workload, its Secrets and its permissions from the cluster.
// Each step removes a mistake.
func TestCheck_cluster(t *testing.T) {
	s, admin := newApp(t), st.ControlPlane().Kubeconfig()
	check(t, s, admin, 1, "error role", "error role", "error secret")
	s.Apply(s.Print("rbac", "app"))
	testsupport.Eventually(t, "the API server knows the Role", func() error { return allowed(t, s, "list", "secrets") })
	check(t, s, admin, 1, "error role", "error secret")
	grant(t, s, "app", "events", "create")
	check(t, s, admin, 1, "error secret")
	s.SetSecret("db", map[string]string{"username": canary})
	check(t, s, admin, 1, "error secret-key")
	s.SetSecret("db", map[string]string{"password": canary})
	check(t, s, admin, 0)
	patch := []byte(`[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["secrets"],` +
		`"resourceNames":["db"],"verbs":["update"]}}]`)
	if _, err := st.ControlPlane().Client.RbacV1().Roles(s.Namespace).Patch(
		t.Context(), "secret-sync-app", types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	testsupport.Eventually(t, "the API server knows the rule",
		func() error { return allowed(t, s, "update", "secrets") })
	check(t, s, admin, 0, "warning role-too-wide")
	grant(t, s, "app", "secrets", "get")
	check(t, s, admin, 0, "warning role-too-wide", "warning role-too-wide")
}

// TestCheck_otherSecrets: check reads the Roles and the bindings of the cluster, because no review shows access to
// another Secret by its name. The administrator of a namespace gets a note about the bindings of the cluster.
func TestCheck_otherSecrets(t *testing.T) {
	s, admin := newApp(t), st.ControlPlane().Kubeconfig()
	s.Apply(s.Print("rbac", "app"))
	s.SetSecret("db", map[string]string{"password": canary})
	testsupport.Eventually(t, "the API server knows the Role", func() error { return allowed(t, s, "list", "secrets") })
	grant(t, s, "app", "events", "create")
	check(t, s, admin, 0)
	rbac := st.ControlPlane().Client.RbacV1()
	meta := metav1.ObjectMeta{Name: "other-" + s.Namespace}
	subject := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "app", Namespace: s.Namespace}}
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"other"},
			Verbs: []string{"get"}},
	}
	if _, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules},
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: ref, Subjects: subject}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = rbac.ClusterRoleBindings().Delete(context.Background(), meta.Name, metav1.DeleteOptions{})
		_ = rbac.ClusterRoles().Delete(context.Background(), meta.Name, metav1.DeleteOptions{})
	})
	r := check(t, s, admin, 0, "warning role-too-wide")
	if !strings.Contains(r.out, `"object": "ClusterRole/`+meta.Name) {
		t.Errorf("the finding does not name the ClusterRole:\n%s", r.out)
	}
	patch := []byte(`[{"op":"add","path":"/rules/0/resourceNames/-","value":"other"}]`)
	if _, err := rbac.Roles(s.Namespace).Patch(t.Context(), "secret-sync-app", types.JSONPatchType, patch,
		metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	check(t, s, admin, 0, "warning role-too-wide", "warning role-too-wide")
	bind(t, s, st.Account, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"})
	testsupport.Eventually(t, "the API server knows the administrator of the namespace", func() error {
		r = run(t, s.Kubeconfig, "check", "deployment/app", "-n", s.Namespace, "-o", "json")
		if r.code != 0 {
			return fmt.Errorf("code %d: %s", r.code, r.err)
		}
		return nil
	})
	if got := r.rules(t); !slices.Equal(got, []string{"note unknown", "warning role-too-wide"}) ||
		!strings.Contains(r.out, "to other Secrets by name") || !strings.Contains(r.out, "Role/secret-sync-app") {
		t.Errorf("got %q, want a note about the bindings of the cluster, and a finding about the Role:\n%s", got, r.out)
	}
}

// TestCheck_podSecurity: check reads the labels of the namespace.
func TestCheck_podSecurity(t *testing.T) {
	s, admin := newApp(t), st.ControlPlane().Kubeconfig()
	s.Apply(s.Print("rbac", "app"))
	s.SetSecret("db", map[string]string{"password": canary})
	testsupport.Eventually(t, "the API server knows the Role", func() error { return allowed(t, s, "list", "secrets") })
	grant(t, s, "app", "events", "create")
	patch := []byte(`{"spec":{"template":{"spec":{"securityContext":{"runAsUser":0}}}}}`)
	_, err := st.ControlPlane().Client.AppsV1().Deployments(s.Namespace).Patch(
		t.Context(), "app", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, admin, 1, "error pod-security")
}

// TestCheck_withoutPermission: a user who may read only the Deployment gets notes.
func TestCheck_withoutPermission(t *testing.T) {
	s := newApp(t)
	grant(t, s, st.Account, "deployments", "get")
	var r result
	testsupport.Eventually(t, "the API server knows the Role", func() error {
		r = run(t, s.Kubeconfig, "check", "deployment/app", "-n", s.Namespace, "-o", "json")
		if r.code != 0 {
			return fmt.Errorf("code %d: %s", r.code, r.err)
		}
		return nil
	})
	for _, rule := range r.rules(t) {
		if rule != "note unknown" {
			t.Errorf("got %q, want only notes:\n%s", rule, r.out)
		}
	}
	for _, object := range []string{"Namespace", "Secret db", "the access of service account app"} {
		if !strings.Contains(r.out, object) {
			t.Errorf("no note about %s:\n%s", object, r.out)
		}
	}
}

// grant binds a Role with a rule to an account of the scene.
func grant(t *testing.T, s *st.Scene, account, resource, verb string) {
	t.Helper()
	client, meta := st.ControlPlane().Client.RbacV1(), metav1.ObjectMeta{Name: resource}
	groups := []string{"", "apps"}
	rules := []rbacv1.PolicyRule{{APIGroups: groups, Resources: []string{resource}, Verbs: []string{verb}}}
	if _, err := client.Roles(s.Namespace).Create(t.Context(),
		&rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bind(t, s, account, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: resource})
	if account == "app" {
		testsupport.Eventually(t, "the API server knows the Role",
			func() error { return allowed(t, s, verb, resource) })
	}
}

// bind binds a role to an account of the scene.
func bind(t *testing.T, s *st.Scene, account string, role rbacv1.RoleRef) {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: role,
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: s.Namespace}},
	}
	if _, err := st.ControlPlane().Client.RbacV1().RoleBindings(s.Namespace).Create(t.Context(), binding,
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
