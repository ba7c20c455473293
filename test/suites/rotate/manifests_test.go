package rotate

import (
	"strings"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestManifests_restricted applies the CronJobs under the Pod Security level "restricted".
// The Role for wait must equal the output of `secret-sync rbac`, without pods/proxy, which
// --direct does not need. The job itself reads and updates the Secret.
func TestManifests_restricted(t *testing.T) {
	s := st.NewWithoutRole(t, nil)
	s.Restrict()
	for _, dir := range []string{"mariadb", "postgres"} {
		if pods := s.DryRun(s.Kustomize(example + dir)); len(pods) == 0 {
			t.Errorf("%s: got no Pod", dir)
		}
	}
	manifest := []byte(st.Read(t, example+"base/rbac.yaml"))
	printed := s.Print("rbac", "--wait", "rotation", "--secret", "db", "-n", s.Namespace)
	want := withoutProxy(t, string(printed))
	const name = "secret-sync-wait-rotation"
	if got, want := st.Rules(t, manifest, name), st.Rules(t, []byte(want), name); got != want {
		t.Errorf("base/rbac.yaml: got %s, want %s", got, want)
	}
	const job = `[{"verbs":["get","update"],"apiGroups":[""],"resources":["secrets"],"resourceNames":["db"]}]`
	if got := st.Rules(t, manifest, "rotation"); got != job {
		t.Errorf("base/rbac.yaml: got %s for the job, want %s", got, job)
	}
}

// withoutProxy removes the rule for pods/proxy from a manifest.
func withoutProxy(t *testing.T, manifest string) string {
	t.Helper()
	const rule = "- apiGroups: [\"\"]\n  resources: [pods/proxy]\n  verbs: [get]\n"
	if !strings.Contains(manifest, rule) {
		t.Fatalf("no rule for pods/proxy in\n%s", manifest)
	}
	return strings.Replace(manifest, rule, "", 1)
}
