package e2e

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// warnings collects the warnings of the API server.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

// TestManifests_strictPodSecurity: a real API server accepts the manifests of the examples
// without a warning, in a namespace with the strictest Pod Security. The sidecar accepts
// their environment.
func TestManifests_strictPodSecurity(t *testing.T) {
	for _, name := range []string{"deployment.yaml", "deployment-webhook.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manifest := read(t, name)
			var d appsv1.Deployment
			if err := yaml.UnmarshalStrict(manifest, &d); err != nil {
				t.Fatal(err)
			}
			namespace := restricted(t)
			w := &warnings{}
			config := rest.CopyConfig(st.ControlPlane().Config)
			config.WarningHandler = w
			for _, m := range [][]byte{read(t, "rbac.yaml"), manifest} {
				if err := controlplane.Apply(t.Context(), config, namespace, m, true); err != nil {
					t.Error(err)
				}
			}
			if err := dryRunPod(t, namespace, d.Spec.Template); err != nil {
				t.Error(err)
			}
			if len(w.text) > 0 {
				t.Errorf("warnings %q, want none", w.text)
			}
			checkPod(t, d.Spec.Template.Spec)
			checkRole(t, d.Spec.Template.Spec)
		})
	}
}

// TestREADME_pod: the same for the Pod in the README.
func TestREADME_pod(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(readme), "```yaml\n")
	manifest, _, _ := strings.Cut(after, "```")
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(manifest), &pod); err != nil {
		t.Fatal(err)
	}
	namespace := restricted(t)
	if err := dryRunPod(t, namespace, corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}); err != nil {
		t.Error(err)
	}
	checkPod(t, pod.Spec)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "pod", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func restricted(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "restricted-", Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted",
		"pod-security.kubernetes.io/warn":    "restricted",
	}}}
	client := st.ControlPlane().Client.CoreV1()
	ns, err := client.Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "app"}}
	if _, err := client.ServiceAccounts(ns.Name).Create(t.Context(), sa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// dryRunPod creates the Pod of a template as a dry run, because Pod Security rejects only
// Pods.
func dryRunPod(t *testing.T, namespace string, template corev1.PodTemplateSpec) error {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name = "app"
	_, err := st.ControlPlane().Client.CoreV1().Pods(namespace).Create(t.Context(), pod,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return err
	}
	pod.Spec.InitContainers[0].SecurityContext = nil // make sure the check can fail
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	_, err = st.ControlPlane().Client.CoreV1().Pods(namespace).Create(t.Context(), pod, dryRun)
	if err == nil || !strings.Contains(err.Error(), "PodSecurity") {
		t.Errorf("a Pod without restrictions: %v, want it rejected", err)
	}
	return nil
}

// checkPod checks for mistakes not found by the API server.
func checkPod(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	sidecar, app := pod.InitContainers[0], pod.Containers[0]
	always := sidecar.RestartPolicy != nil && *sidecar.RestartPolicy == corev1.ContainerRestartPolicyAlways
	if !always || sidecar.StartupProbe == nil {
		t.Error("the sidecar is not a native sidecar with a startup probe")
	}
	// `secret-sync wait` requires both to accept the sidecar's response.
	for name, path := range map[string]string{"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"} {
		if !slices.ContainsFunc(sidecar.Env, func(v corev1.EnvVar) bool {
			return v.Name == name && v.ValueFrom != nil && v.ValueFrom.FieldRef != nil &&
				v.ValueFrom.FieldRef.FieldPath == path
		}) {
			t.Errorf("the sidecar does not read %s from %s", name, path)
		}
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the token is mounted in the app")
	}
	for _, m := range app.VolumeMounts {
		if !m.ReadOnly || m.SubPath != "" || m.Name == "api" {
			t.Errorf("the app mounts %+v", m)
		}
	}
	if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumMemory && v.EmptyDir.SizeLimit != nil
	}) {
		t.Error("the volume is not in memory with a size limit")
	}
}

// checkRole compares the Role with the output of `rbac` in the environment of the container.
func checkRole(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	env := st.Env{}
	for _, e := range pod.InitContainers[0].Env {
		if e.Value != "" {
			env[e.Name] = e.Value
		}
	}
	printed, _ := role(t, st.NewWithoutRole(t, env).Print("rbac", pod.ServiceAccountName))
	written, _ := role(t, read(t, "rbac.yaml"))
	if printed.Name != written.Name || !reflect.DeepEqual(printed.Rules, written.Rules) {
		t.Errorf("rbac.yaml contains %v, secret-sync rbac prints %v", written.Rules, printed.Rules)
	}
}
