package plugin

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/helmchart"
	"github.com/secret-sync/secret-sync/test/harness/kustomize"
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

// TestCheck_examples: check finds nothing in the manifests, charts and kustomizations of the
// examples. It uses no cluster.
func TestCheck_examples(t *testing.T) {
	manifests := map[string]string{}
	for _, pattern := range []string{"cases/*/kustomization.yaml", "component/example/kustomization.yaml"} {
		files, err := filepath.Glob(examples + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := kustomize.Render(filepath.Dir(file))
			if err != nil {
				t.Fatal(err)
			}
			manifests[filepath.Dir(strings.TrimPrefix(file, examples))] = string(text)
		}
	}
	chart, err := helmchart.Template(examples+"helm/app", "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	manifests["helm/app"] = string(chart)
	var extra map[string]any
	if err := yaml.Unmarshal([]byte(st.Read(t, examples+"helm/values-extra.yaml")), &extra); err != nil {
		t.Fatal(err)
	}
	other, err := helmchart.Template("../manifests/testdata/other", "default", extra)
	if err != nil {
		t.Fatal(err)
	}
	// The values require an account with the Role, and an app that listens for the webhook.
	manifests["helm/values-extra.yaml"] = strings.NewReplacer(
		"      automountServiceAccountToken:", "      serviceAccountName: app\n      automountServiceAccountToken:",
		"image: other:1", "image: other:1\n        ports: [{containerPort: 8080}]",
	).Replace(string(other)) + "---\n" + st.Read(t, examples+"pod/rbac.yaml")
	for _, file := range []string{"pod/deployment.yaml", "pod/deployment-webhook.yaml"} {
		manifests[file] = st.Read(t, examples+file) + "---\n" + st.Read(t, examples+"pod/rbac.yaml")
	}
	for name, manifest := range manifests {
		file := filepath.Join(t.TempDir(), "manifest.yaml")
		st.Write(t, file, manifest)
		if r := run(t, "absent", "check", "-f", file); r.code != 0 ||
			!strings.Contains(r.out, "0 errors, 0 warnings, 0 notes") {
			t.Errorf("%s: code %d\n%s%s", name, r.code, r.out, r.err)
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
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: resource},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: s.Namespace}},
	}
	if _, err := client.RoleBindings(s.Namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if account == "app" {
		testsupport.Eventually(t, "the API server knows the Role",
			func() error { return allowed(t, s, verb, resource) })
	}
}
