//go:build programs

package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/secret-sync/secret-sync/examples/internal/controlplane"
	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// TestApply: the API server takes the folder, with the definitions from the operator's
// own Go module.
func TestApply(t *testing.T) {
	t.Parallel()
	s := st.NewWithoutRole(t, nil)
	definitions := filepath.Join(download(t, "github.com/prometheus-operator/prometheus-operator@v0.85.0"), "example", "prometheus-operator-crd")
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

// download returns the folder of a Go module, which go keeps in its cache.
func download(t *testing.T, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s", module, err, out)
	}
	var answer struct{ Dir string }
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Dir
}
