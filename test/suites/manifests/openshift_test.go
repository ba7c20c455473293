package manifests

import (
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/test/harness/helmchart"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestManifests_withoutAPinnedUID lists the examples that OpenShift must accept: its
// constraint restricted-v2 rejects a runAsUser and an fsGroup outside of the range of the
// namespace. Examples with a signal pin the UID, which both containers must share.
func TestManifests_withoutAPinnedUID(t *testing.T) {
	const examples = "../../../examples/"
	s := st.NewWithoutRole(t, nil)
	s.Restrict()
	deployment, err := os.ReadFile(examples + "pod/deployment-webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	webhook := `{runAsUser: null, secret-sync: {process: "", webhookURL: "http://localhost:8080/reload"}}`
	chart, err := helmchart.Template(charts+"/app", s.Namespace, values(t, webhook))
	if err != nil {
		t.Fatal(err)
	}
	for name, manifest := range map[string][]byte{
		"pod/deployment-webhook.yaml": deployment,
		"helm/app":                    chart,
		"cases/webhook":               s.Kustomize(examples + "cases/webhook"),
		"cases/files":                 s.Kustomize(examples + "cases/files"),
		"cases/init":                  s.Kustomize(examples + "cases/init"),
		"cases/service-binding":       s.Kustomize(examples + "cases/service-binding"),
	} {
		for _, pod := range s.DryRun(manifest) {
			checkNoUID(t, name, pod.Spec)
		}
	}
}

func checkNoUID(t *testing.T, name string, pod corev1.PodSpec) {
	t.Helper()
	if c := pod.SecurityContext; c.RunAsUser != nil || c.RunAsGroup != nil || c.FSGroup != nil {
		t.Errorf("%s: the Pod pins an ID: %+v", name, c)
	}
	for _, container := range append(pod.InitContainers, pod.Containers...) {
		if c := container.SecurityContext; c != nil && (c.RunAsUser != nil || c.RunAsGroup != nil) {
			t.Errorf("%s: container %s pins an ID: %+v", name, container.Name, c)
		}
	}
}
