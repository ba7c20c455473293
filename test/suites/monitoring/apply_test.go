//go:build programs

package monitoring

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// TestApply_definitionsOfOperator: the API server accepts the manifests, with the resource
// definitions from the operator's Go module.
func TestApply_definitionsOfOperator(t *testing.T) {
	t.Parallel()
	s := st.NewWithoutRole(t, nil)
	operator := st.ModuleDir(t, "github.com/prometheus-operator/prometheus-operator@v0.85.0")
	definitions := filepath.Join(operator, "example", "prometheus-operator-crd")
	for _, name := range []string{"podmonitors", "prometheusrules"} {
		manifest, err := os.ReadFile(filepath.Join(definitions, "monitoring.coreos.com_"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := controlplane.Apply(t.Context(), st.ControlPlane().Config, "", manifest, false); err != nil {
			t.Fatal(err)
		}
	}
	manifest := s.Kustomize(folder)
	testsupport.Eventually(t, "apply", func() error { // the API server needs a moment for the definitions
		return controlplane.Apply(t.Context(), st.ControlPlane().Config, s.Namespace, manifest, false)
	})
}
