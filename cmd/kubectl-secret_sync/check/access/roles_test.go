package access

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
	"github.com/secret-sync/secret-sync/internal/kube"
)

func object(t *testing.T, text string) *manifest.Object {
	t.Helper()
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	return &manifest.Object{Unstructured: &unstructured.Unstructured{Object: content}}
}

// TestGrants: the grants of a Role are compared with the need in both directions. A Role without a rule for Secrets is
// the app's own.
func TestGrants(t *testing.T) {
	need := kube.RBAC{Namespace: "shop", ServiceAccount: "app", Names: []string{"db"}}
	for _, c := range []struct {
		rules, missing string
		excess         int
	}{
		{`[{apiGroups: [""], resources: [secrets], resourceNames: [db], verbs: [list, watch]}]`, "", 0},
		{`[{apiGroups: [""], resources: [secrets], resourceNames: [db, web], verbs: [list, watch]}]`, "", 1},
		{`[{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]`, "", 1},
		{`[{apiGroups: [""], resources: [secrets], resourceNames: [db], verbs: [list]}]`,
			`{apiGroups: [""], resources: [secrets], resourceNames: ["db"], verbs: [watch]}`, 0},
		{`[{apiGroups: [apps], resources: [deployments], verbs: [get]}]`,
			`{apiGroups: [""], resources: [secrets], resourceNames: ["db"], verbs: [list, watch]}`, 0},
	} {
		grants := Grants(object(t, "{kind: Role, metadata: {name: app}, rules: "+c.rules+"}"))
		missing, excess := Missing(grants, need), Excess(grants, need)
		if missing != c.missing || len(excess) != c.excess {
			t.Errorf("%s: got missing %q and %d excess rules, want %q and %d", c.rules, missing, len(excess), c.missing,
				c.excess)
		}
		if got := Allow(grants, "watch", "secrets", "db"); got != (c.missing == "") {
			t.Errorf("%s: watch is allowed: got %t", c.rules, got)
		}
	}
}

// TestBindings: a RoleBinding of another namespace does not count, and an object without a namespace is in the default
// namespace.
func TestBindings(t *testing.T) {
	const subjects = ", roleRef: {kind: Role, name: a}, subjects: [{kind: ServiceAccount, name: app, namespace: shop}]}"
	objects := []*manifest.Object{
		object(t, "{kind: RoleBinding, metadata: {name: local, namespace: shop}"+subjects),
		object(t, "{kind: RoleBinding, metadata: {name: other, namespace: web}"+subjects),
		object(t, "{kind: RoleBinding, metadata: {name: default}"+subjects),
		object(t, "{kind: ClusterRoleBinding, metadata: {name: cluster}"+subjects),
		object(t, "{kind: Role, metadata: {name: role, namespace: shop}}"),
	}
	for namespace, want := range map[string]string{"shop": "local default cluster ", "web": "local cluster "} {
		got := ""
		for _, b := range (Account{"shop", "app"}).Bindings(objects, namespace) {
			got += b.GetName() + " "
		}
		if got != want {
			t.Errorf("default namespace %s: got %q, want %q", namespace, got, want)
		}
	}
}
