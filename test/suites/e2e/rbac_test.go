package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// newest returns the number of the current generation, from its record.
func newest(t *testing.T, s *st.Scene) uint64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, s.Generation()+".json"))
	if err != nil {
		return 0 // the generation was replaced at this moment
	}
	var record struct{ Generation uint64 }
	if err := json.Unmarshal(b, &record); err != nil {
		t.Fatal(err)
	}
	return record.Generation
}

// role returns the Role of a manifest, and the other documents.
func role(t *testing.T, manifest []byte) (role rbacv1.Role, rest string) {
	t.Helper()
	objects, err := controlplane.Decode(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "Role" {
			b, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			rest += "\n---\n" + string(b)
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
	}
	return role, rest
}

// TestRBAC_minimal: the printed Role is sufficient, and every verb in it is necessary.
func TestRBAC_minimal(t *testing.T) {
	t.Parallel()
	tests := map[string]st.Env{
		"by name":     {"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "none"},
		"by selector": {"SECRETSYNC_SELECTOR": "app=web"},
	}
	for name, env := range tests {
		whole, _ := role(t, st.NewWithoutRole(t, env).Print("rbac", st.Account))
		for ri, rule := range whole.Rules {
			for vi, verb := range rule.Verbs {
				t.Run(name+" without "+verb, func(t *testing.T) {
					t.Parallel()
					less := whole.DeepCopy()
					less.Rules[ri].Verbs = append(append([]string{}, rule.Verbs[:vi]...), rule.Verbs[vi+1:]...)
					testWithoutVerb(t, env, less)
				})
			}
		}
	}
}

// testWithoutVerb uses a Role without a required verb. The sidecar must log the problem and
// recover when the Role is complete.
func testWithoutVerb(t *testing.T, env st.Env, less *rbacv1.Role) {
	s := st.NewWithoutRole(t, env)
	less.Namespace = s.Namespace
	b, err := json.Marshal(less)
	if err != nil {
		t.Fatal(err)
	}
	_, binding := role(t, s.Print("rbac", st.Account))
	s.Apply(append(b, binding...))
	s.SetSecret("db", files{"k": "1"}, "app=web")
	r := s.Start(nil)
	r.WaitLog("orbidden")
	s.SetSecret("db", files{"k": "2"}, "app=web")
	if strings.Contains(strings.Join(less.Rules[0].Verbs, " "), "watch") {
		if s.Ready() == nil {
			t.Error("ready without permission to list")
		}
	}
	s.Apply(s.Print("rbac", st.Account))
	testsupport.EventuallyWithin(t, 60e9, "the files after the Role is complete",
		func() error { return s.CheckFiles(files{"db/k": "2"}) })
	r.Stop()
}

// TestRBAC_onlyNamedSecrets: the account can read only the configured Secrets.
func TestRBAC_onlyNamedSecrets(t *testing.T) {
	t.Parallel()
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	r, _ := role(t, s.Print("rbac", st.Account))
	for _, rule := range r.Rules {
		if len(rule.ResourceNames) != 1 || rule.ResourceNames[0] != "db" {
			t.Errorf("rule %v, want only db", rule)
		}
	}
}

// TestRBAC_twoAccounts prevents a regression: the Roles of two accounts had the same name, so
// the second Role replaced the first.
func TestRBAC_twoAccounts(t *testing.T) {
	t.Parallel()
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	secrets := map[string]string{"app": "db", "web": "tls"}
	for account, secret := range secrets {
		s.Env["SECRETSYNC_SECRETS"] = secret
		s.Apply(s.Print("rbac", account))
	}
	for account, own := range secrets {
		for _, secret := range secrets {
			testsupport.EventuallyWithin(t, 20e9, fmt.Sprintf("%s lists %s: %v", account, secret, secret == own),
				func() error {
					err := listAs(t, s.Namespace, account, secret)
					if secret == own || err != nil && !apierrors.IsForbidden(err) {
						return err
					}
					if err == nil {
						return fmt.Errorf("%s may list %s", account, secret)
					}
					return nil
				})
		}
	}
}

// listAs lists a Secret by name as a service account.
func listAs(t *testing.T, namespace, account, secret string) error {
	t.Helper()
	config := rest.CopyConfig(st.ControlPlane().Config)
	config.Impersonate.UserName = fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().
		Secrets(namespace).
		List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + secret})
	return err
}
