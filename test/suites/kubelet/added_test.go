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

// TestInjected_byPolicy: with two annotations, the API server adds the sidecar. The test is
// not parallel, because the sidecar uses its default port on the host's network.
func TestInjected_byPolicy(t *testing.T) {
	s := newScene(t)
	manifest, err := kustomize.Render("../../../examples/inject")
	if err != nil {
		t.Fatal(err)
	}
	// If this cluster has no Service for its API server, a policy of the cluster sets the
	// address in containers, but not in containers added later by another policy.
	server, err := url.Parse(cluster.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	const first = "Object.spec.initContainers.env{name: 'POD_NAMESPACE'"
	address := fmt.Sprintf("Object.spec.initContainers.env{name: 'KUBERNETES_SERVICE_HOST', value: '%s'}, "+
		"Object.spec.initContainers.env{name: 'KUBERNETES_SERVICE_PORT', value: '%s'}, ", server.Hostname(),
		server.Port())
	values := strings.NewReplacer("secret-sync:latest", cluster.Images.Sidecar, first, address+first)
	manifest = []byte(values.Replace(string(manifest)))
	if err := controlplane.Apply(t.Context(), cluster.Config, "", manifest, false); err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"metadata":{"labels":{"secret-sync/inject":"enabled"}}}`)
	namespaces := cluster.Client.CoreV1().Namespaces()
	_, err = namespaces.Patch(t.Context(), s.Namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wait(5 * time.Second) // both policies need time to take effect
	s.rbac()
	s.SetPassword("0")
	s.Apply([]byte(plain), nil)
	s.rotates("signal")
}

// TestChart_defaultValues deploys the application chart without changes.
func TestChart_defaultValues(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	manifest, err := helmchart.Template("../../../examples/helm/app", s.Namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.SetPassword("0")
	s.Apply(manifest, nil)
	s.rotates("signal")
}

// rotates changes the password three times and checks how the app received it.
func (s *scene) rotates(by string) {
	s.Helper()
	s.Loaded("app", "0")
	wait(6 * time.Second) // a process younger than 5 s is not signaled
	for i := 1; i <= 3; i++ {
		s.SetPassword(fmt.Sprint(i))
		if a := s.Loaded("app", fmt.Sprint(i)); a.By != by {
			s.Errorf("rotation %d: loaded by %s, want %s", i, a.By, by)
		}
	}
}
