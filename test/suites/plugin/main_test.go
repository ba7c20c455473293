// Package plugin contains only tests. They run the kubectl plugin against a real API server.
package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestMain(m *testing.M) { st.Main(m, st.Options{}) }

// plugin builds the plugin, which is a module of its own, and returns its path.
var plugin = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(st.Binary()), "kubectl-secret_sync")
	return path, exec.Command("go", "build", "-C", "../../../cmd/kubectl-secret_sync", "-o", path, ".").Run()
})

// A result is the outcome of a command of the plugin.
type result struct {
	out, err string
	code     int
}

// run runs the plugin with a kubeconfig.
func run(t *testing.T, kubeconfig string, args ...string) result {
	t.Helper()
	path, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HOME="+t.TempDir())
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run()
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// rules returns the rules of the findings in the JSON output of check, and each severity.
func (r result) rules(t *testing.T) (all []string) {
	t.Helper()
	var report struct {
		Findings []struct{ Severity, Rule string }
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v:\n%s%s", err, r.out, r.err)
	}
	for _, f := range report.Findings {
		all = append(all, f.Severity+" "+f.Rule)
	}
	slices.Sort(all)
	return all
}

// check checks the Deployment app of the scene and compares the exit code and the rules.
func check(t *testing.T, s *st.Scene, kubeconfig string, code int, want ...string) result {
	t.Helper()
	r := run(t, kubeconfig, "check", "deployment/app", "-n", s.Namespace, "-o", "json")
	if got := r.rules(t); r.code != code || !slices.Equal(got, want) {
		t.Errorf("got code %d and %q, want code %d and %q:\n%s%s", r.code, got, code, want, r.out, r.err)
	}
	if strings.Contains(r.out+r.err, canary) {
		t.Errorf("the output contains the value of a Secret:\n%s%s", r.out, r.err)
	}
	return r
}

// canary is the value of each Secret.
const canary = "canary-4711"

// allowed returns nil if the service account of the Deployment may use a verb on the object db.
func allowed(t *testing.T, s *st.Scene, verb, resource string) error {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + s.Namespace + ":app",
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: s.Namespace, Verb: verb, Version: "v1", Resource: resource, Name: "db",
		},
	}}
	answer, err := st.ControlPlane().Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review,
		metav1.CreateOptions{})
	if err == nil && !answer.Status.Allowed {
		err = errors.New("not allowed")
	}
	return err
}
