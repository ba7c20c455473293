package e2e

import (
	"errors"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// TestSeparate_volumes runs both sidecars of examples/cases/separate with the environment of
// the manifest. Each volume contains only the Secret of its container, and a change notifies
// only this container.
func TestSeparate_volumes(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "tls,db"})
	s.SetSecret("tls", files{"tls.key": "1"})
	s.SetSecret("db", files{"password": "1"})
	containers := initContainers(t, s.Kustomize("../../../examples/cases/separate"))
	if len(containers) != 2 {
		t.Fatalf("%d sidecars, want 2", len(containers))
	}
	web, webHook := startContainer(t, s, containers[0])
	worker, workerHook := startContainer(t, s, containers[1])
	web.WaitFiles(files{"tls/tls.key": "1"})
	worker.WaitFiles(files{"db/password": "1"})
	s.SetSecret("db", files{"password": "2"})
	worker.WaitFiles(files{"db/password": "2"})
	testsupport.Eventually(t, "the notification of worker", func() error {
		if len(workerHook.Accepted()) == 0 {
			return errors.New("none")
		}
		return nil
	})
	if got := webHook.Accepted(); len(got) > 0 {
		t.Errorf("web: %v, want no notification", got)
	}
	if err := web.CheckFiles(files{"tls/tls.key": "1"}); err != nil {
		t.Error(err)
	}
}

// initContainers returns the init containers of the Deployment in a manifest.
func initContainers(t *testing.T, manifest []byte) (containers []corev1.Container) {
	t.Helper()
	objects, err := controlplane.Decode(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		spec, found, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		if err != nil || !found {
			continue
		}
		var pod corev1.PodSpec
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &pod); err != nil {
			t.Fatal(err)
		}
		containers = append(containers, pod.InitContainers...)
	}
	return containers
}

// startContainer starts a sidecar with a volume and a webhook of its own.
func startContainer(t *testing.T, s *st.Scene, c corev1.Container) (*st.Scene, *st.Webhook) {
	t.Helper()
	own, hook := *s, st.NewWebhook(t)
	own.Dir, own.Env = testsupport.MemoryDir(t), maps.Clone(s.Env)
	for _, variable := range c.Env {
		if strings.HasPrefix(variable.Name, "SECRETSYNC_") {
			own.Env[variable.Name] = variable.Value
		}
	}
	own.Env["SECRETSYNC_DIR"] = own.Dir
	own.Env["SECRETSYNC_WEBHOOK_URL"] = hook.URL
	own.Env["SECRETSYNC_HTTP_ADDR"] = childprocess.FreeAddr(t)
	own.Start(nil)
	return &own, hook
}
