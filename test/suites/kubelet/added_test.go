//go:build kubelet

package kubelet

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/secret-sync/secret-sync/test/harness/helmchart"
	"github.com/secret-sync/secret-sync/test/harness/kustomize"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

const plain = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}, annotations: {secret-sync/secrets: db, secret-sync/process: app}}
    spec:
      serviceAccountName: app
      containers: [{name: app, image: app:1}]
`

// TestInjected: two annotations, and the API server adds the sidecar. On the host's
// network it needs its default port: this test is not parallel.
func TestInjected(t *testing.T) {
	s := newScene(t)
	manifest, err := kustomize.Render("../../../examples/inject")
	if err != nil {
		t.Fatal(err)
	}
	// Where this cluster has no Service for its API server, its own policy tells containers
	// the address, but not those that are added later.
	server, err := url.Parse(cluster.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	const first = "Object.spec.initContainers.env{name: 'POD_NAMESPACE'"
	address := fmt.Sprintf("Object.spec.initContainers.env{name: 'KUBERNETES_SERVICE_HOST', value: '%s'}, "+
		"Object.spec.initContainers.env{name: 'KUBERNETES_SERVICE_PORT', value: '%s'}, ", server.Hostname(), server.Port())
	manifest = []byte(strings.NewReplacer("secret-sync:latest", cluster.Images.Sidecar, first, address+first).Replace(string(manifest)))
	if err := controlplane.Apply(t.Context(), cluster.Config, "", manifest, false); err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"metadata":{"labels":{"secret-sync/inject":"enabled"}}}`)
	if _, err := cluster.Client.CoreV1().Namespaces().Patch(t.Context(), s.Namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(5 * time.Second) // both policies take effect
	s.rbac()
	s.PutPassword("0")
	s.Apply([]byte(plain), nil)
	s.rotates("signal")
}

// TestChart: the application chart, as it is.
func TestChart(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	manifest, err := helmchart.Template("../../../examples/helm/app", s.Namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.PutPassword("0")
	s.Apply(manifest, nil)
	s.rotates("signal")
}

// rotates changes the password three times, and looks at what the app says.
func (s *scene) rotates(by string) {
	s.Helper()
	s.Loaded("app", "0")
	wait(6 * time.Second) // a process younger than 5 s is not signalled
	for i := 1; i <= 3; i++ {
		s.PutPassword(fmt.Sprint(i))
		if a := s.Loaded("app", fmt.Sprint(i)); a.By != by {
			s.Errorf("rotation %d: got it by %s, want by %s", i, a.By, by)
		}
	}
}
