package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/helmchart"
	"github.com/secret-sync/secret-sync/test/harness/kustomize"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// TestCheck_examples: check finds nothing in the manifests, charts and kustomizations of the
// examples. It uses no cluster.
func TestCheck_examples(t *testing.T) {
	manifests := kustomizations(t)
	for name, values := range map[string]string{
		"the defaults":    `{}`,
		"several Secrets": `secret-sync: {secrets: [web, db], optionalSecrets: [tls], process: ""}`,
		"Events, flat":    `secret-sync: {process: "", env: {SECRETSYNC_EVENTS: "true", SECRETSYNC_LAYOUT: flat}}`,
		"a selector":      `secret-sync: {secrets: [], process: "", env: {SECRETSYNC_SELECTOR: "app=shop"}}`,
	} {
		manifests["helm/app with "+name] = chart(t, examples+"helm/app", values)
	}
	// The values require an account with the Role, and an app that listens for the webhook.
	manifests["helm/values-extra.yaml"] = strings.NewReplacer(
		"      automountServiceAccountToken:", "      serviceAccountName: app\n      automountServiceAccountToken:",
		"image: other:1", "image: other:1\n        ports: [{containerPort: 8080}]",
	).Replace(chart(t, "../manifests/testdata/other", st.Read(t, examples+"helm/values-extra.yaml"))) +
		"---\n" + st.Read(t, examples+"pod/rbac.yaml")
	for _, file := range []string{"pod/deployment.yaml", "pod/deployment-webhook.yaml"} {
		manifests[file] = st.Read(t, examples+file) + "---\n" + st.Read(t, examples+"pod/rbac.yaml")
	}
	for name, manifest := range manifests {
		file := filepath.Join(t.TempDir(), "manifest.yaml")
		st.Write(t, file, manifest)
		if r := run(t, "absent", "check", "-f", file); r.code != 0 ||
			!strings.Contains(r.out, "0 errors, 0 warnings, 0 notes") {
			t.Errorf("%s: code %d\n%s%s", name, r.code, r.out, r.err)
		}
	}
}

// kustomizations renders every kustomization of the examples. A kustomization without a sidecar gets the Deployment
// of the examples beside it. A component is part of the kustomizations that use it.
func kustomizations(t *testing.T) map[string]string {
	t.Helper()
	manifests, components, used := map[string]string{}, []string{}, ""
	err := filepath.WalkDir(examples, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(file) != "kustomization.yaml" {
			return err
		}
		dir := filepath.Dir(file)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), "kind: Component\n") {
			components = append(components, filepath.Base(dir))
			return nil
		}
		used += string(text)
		manifest, err := kustomize.Render(dir)
		if !strings.Contains(string(manifest), "SECRETSYNC_SECRETS") {
			manifest = fmt.Appendf(manifest, "\n---\n%s\n---\n%s", st.Read(t, examples+"pod/deployment.yaml"),
				st.Read(t, examples+"pod/rbac.yaml"))
		}
		manifests[dir] = string(manifest)
		return err
	})
	if err != nil || len(manifests) < 15 || len(components) < 3 {
		t.Fatalf("got %d kustomizations and the components %q, %v", len(manifests), components, err)
	}
	for _, component := range components {
		if !strings.Contains(used, "component/"+component) && !strings.Contains(used, "../"+component) {
			t.Errorf("no kustomization uses the component %s", component)
		}
	}
	return manifests
}

// chart renders a chart with values, as YAML.
func chart(t *testing.T, folder, values string) string {
	t.Helper()
	var parsed map[string]any
	if err := yaml.Unmarshal([]byte(values), &parsed); err != nil {
		t.Fatal(err)
	}
	manifest, err := helmchart.Template(folder, "default", parsed)
	if err != nil {
		t.Fatal(err)
	}
	return string(manifest)
}

// TestCheck_injected: check finds nothing in Pods to which the policy of the examples added the sidecar, in the
// cluster and in the text of the Pods.
func TestCheck_injected(t *testing.T) {
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.Restrict()
	policies := s.Kustomize(examples + "inject")
	if err := controlplane.Apply(t.Context(), st.ControlPlane().Config, "", policies, false); err != nil {
		t.Fatal(err)
	}
	client := st.ControlPlane().Client.CoreV1()
	label := []byte(`{"metadata":{"labels":{"secret-sync/inject":"enabled"}}}`)
	if _, err := client.Namespaces().Patch(t.Context(), s.Namespace, types.MergePatchType, label,
		metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.ControlPlane().TokenKubeconfig(t.Context(), s.Namespace, "app"); err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", map[string]string{"password": canary})
	s.Apply(s.Print("rbac", "app"))
	testsupport.Eventually(t, "the API server knows the Role", func() error { return allowed(t, s, "list", "secrets") })
	// Until then, the Pod has no sidecar, or the policy that requires it takes effect first and refuses the Pod.
	testsupport.Eventually(t, "the policy takes effect", func() error {
		if err := controlplane.Apply(t.Context(), st.ControlPlane().Config, s.Namespace,
			[]byte(injectedPod("first", "")), false); err != nil {
			return err
		}
		defer client.Pods(s.Namespace).Delete(t.Context(), "first", *metav1.NewDeleteOptions(0))
		pod, err := client.Pods(s.Namespace).Get(t.Context(), "first", metav1.GetOptions{})
		if err == nil && len(pod.Spec.InitContainers) == 0 {
			err = errors.New("the Pod has no sidecar")
		}
		return err
	})
	for name, annotation := range map[string]string{
		"files": "", "process": "secret-sync/process: app",
		"webhook":  "secret-sync/webhook-url: http://localhost:8080/reload",
		"selector": "secret-sync/selector: app=shop", "keys": "secret-sync/required-keys: db/password",
	} {
		s.Apply([]byte(injectedPod(name, annotation)))
		want := "0 errors, 0 warnings, 0 notes in 1 workload"
		if name == "selector" { // the Role of the scene names a single Secret
			want = "no Role grants access to service account app"
		}
		r := run(t, st.ControlPlane().Kubeconfig(), "check", "pod/"+name, "-n", s.Namespace)
		if !strings.Contains(r.out, want) {
			t.Errorf("%s: got code %d, want %q\n%s%s", name, r.code, want, r.out, r.err)
		}
	}
}

// injectedPod returns a Pod with annotations and without the sidecar.
func injectedPod(name, annotation string) string {
	return `apiVersion: v1
kind: Pod
metadata:
  name: ` + name + `
  annotations:
    secret-sync/secrets: db
    ` + annotation + `
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: app:1
    ports: [{containerPort: 8080}]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`
}
