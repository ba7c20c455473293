package check

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/access"
	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// A fakeCluster contains every Secret. It allows the listed verbs, as "verb resource name".
type fakeCluster struct {
	allowed []string
	objects []*manifest.Object // roles and bindings
	err     error              // of the bindings
}

func (fakeCluster) SecretKeys(context.Context, string, string, bool) ([]string, bool, error) {
	return []string{"password"}, true, nil
}

func (f fakeCluster) Allowed(_ context.Context, _ access.Account, verb, resource, name string) (bool, error) {
	all := strings.TrimSpace(verb + " " + resource)
	return slices.Contains(f.allowed, all) || slices.Contains(f.allowed, all+" "+name), nil
}

func (f fakeCluster) Bindings(context.Context, string) ([]*manifest.Object, error) {
	return f.objects, f.err
}

func (f fakeCluster) Object(_ context.Context, kind, _, name string) (*manifest.Object, error) {
	for _, o := range f.objects {
		if o.GetKind() == kind && o.GetName() == name {
			return o, nil
		}
	}
	return nil, nil
}

// excess returns the findings about permissions that the Deployment of good.yaml does not need, and the notes.
func excess(t *testing.T, f fakeCluster) string {
	t.Helper()
	f.allowed = append(f.allowed, "list secrets db", "watch secrets db", "create events")
	report, err := Run(t.Context(), Input{
		Objects: workloadsOnly(objects(t, read(t, "testdata/good.yaml"))), DefaultNamespace: "shop", Cluster: f,
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range report.Findings {
		if f.Rule == "role-too-wide" || f.Rule == "unknown" {
			got = append(got, f.Object+" "+f.Field+": "+f.Message)
		}
	}
	return strings.Join(got, "|")
}

// workloadsOnly removes the Roles and bindings, which a cluster returns.
func workloadsOnly(all []*manifest.Object) []*manifest.Object {
	return slices.DeleteFunc(all, func(o *manifest.Object) bool { return strings.HasPrefix(o.GetKind(), "Role") })
}

// TestCheckExcess_reviews: a verb for the sidecar's own Secret is reported, and a verb for every Secret once.
func TestCheckExcess_reviews(t *testing.T) {
	const place = "Deployment/app spec.template.spec.serviceAccountName: service account app "
	for _, c := range []struct{ allowed, want string }{
		{"", ""},
		{"update secrets db", place + "may update the Secret db"},
		{"get secrets db,get secrets", place + "may get every Secret of the namespace"},
		{"get secrets,patch secrets db",
			place + "may get every Secret of the namespace|" + place + "may patch the Secret db"},
		{"get secrets cache", ""},
	} {
		if got := excess(t, fakeCluster{allowed: strings.Split(c.allowed, ",")}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.allowed, got, c.want)
		}
	}
}

// TestCheckExcess_roles: a rule of a bound role is reported, also for another Secret, which reviews do not show. A
// review of a verb that a rule contains is no second finding.
func TestCheckExcess_roles(t *testing.T) {
	const (
		app   = "{kind: ServiceAccount, name: app}"
		found = "Role/extra rules[0]: the rule grants more than the sidecar needs"
	)
	for _, c := range []struct{ name, rule, subject, allowed, want string }{
		{"the minimal rule", "resourceNames: [db], verbs: [list, watch]", app, "", ""},
		{"another Secret", "resourceNames: [cache], verbs: [list]", app, "", found},
		{"a verb", "resourceNames: [db], verbs: [update]", app, "update secrets db", found},
		{"every Secret", "verbs: [get]", app, "get secrets", found},
		{"another account", "verbs: [get]", "{kind: ServiceAccount, name: web, namespace: shop}", "", ""},
		{"a group", "verbs: [get]", "{kind: Group, name: 'system:serviceaccounts:shop'}", "get secrets", found},
		{"another group", "verbs: [get]", "{kind: Group, name: 'system:serviceaccounts:web'}", "", ""},
		{"a user", "verbs: [get]", "{kind: User, name: 'system:serviceaccount:shop:app'}", "get secrets", found},
	} {
		bound := objects(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role,
  metadata: {name: extra, namespace: shop}, rules: [{apiGroups: [""], resources: [secrets], `+c.rule+`}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: extra, namespace: shop},
  roleRef: {kind: Role, name: extra}, subjects: [`+c.subject+`]}`)
		if got := excess(t, fakeCluster{allowed: []string{c.allowed}, objects: bound}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestCheckExcess_unreadable: without permission to read the bindings, check says so, and still asks for the access.
func TestCheckExcess_unreadable(t *testing.T) {
	got := excess(t, fakeCluster{allowed: []string{"get secrets"}, err: errors.New("forbidden")})
	for _, want := range []string{"to other Secrets by name: forbidden", "may get every Secret of the namespace"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
