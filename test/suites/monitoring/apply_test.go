//go:build programs

package monitoring

import (
	"os"
	"path/filepath"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// TestApply: the API server takes the folder, with the definitions from the operator's
// own Go module.
func TestApply(t *testing.T) {
	t.Parallel()
	s := st.NewWithoutRole(t, nil)
	definitions := filepath.Join(st.ModuleDir(t, "github.com/prometheus-operator/prometheus-operator@v0.85.0"), "example", "prometheus-operator-crd")
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
	st.Until(t, "apply", func() error { // the definitions take a moment
		return controlplane.Apply(t.Context(), st.ControlPlane().Config, s.Namespace, manifest, false)
	})
}
