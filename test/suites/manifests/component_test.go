// Package manifests applies the manifests, components and charts of examples/ to a real API
// server, in a namespace with the Pod Security level "restricted".
package manifests

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestMain(m *testing.M) { st.Main(m, st.Options{}) }

// TestComponent_everyKindOfWorkload checks the Pods of each kind of workload, and compares
// the Role of the example with the output of `secret-sync rbac`.
func TestComponent_everyKindOfWorkload(t *testing.T) {
	const dir = "../../../examples/component/example"
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.Restrict()
	pods := s.DryRun(s.Kustomize(dir))
	if len(pods) != 4 {
		t.Fatalf("got %d Pods, want 4, for each kind of workload", len(pods))
	}
	for _, pod := range pods {
		check(t, pod)
	}
	checkRole(t, s.Kustomize(dir), s.Print("rbac", "app"))
}

// checkRole compares the Role secret-sync-app in a manifest with the output of
// `secret-sync rbac`.
func checkRole(t *testing.T, manifest, printed []byte) {
	t.Helper()
	const name = "secret-sync-app"
	if got, want := st.Rules(t, manifest, name), st.Rules(t, printed, name); got != want {
		t.Errorf("Role %s: got %s, want %s", name, got, want)
	}
}

// check checks a Pod beyond the checks of the API server.
func check(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if n := len(pod.Spec.InitContainers); n != 1 {
		t.Fatalf("%s: got %d init containers, want the sidecar", pod.Name, n)
	}
	sidecar, app := pod.Spec.InitContainers[0], pod.Spec.Containers[0]
	always := corev1.ContainerRestartPolicyAlways
	if sidecar.RestartPolicy == nil || *sidecar.RestartPolicy != always || sidecar.StartupProbe == nil {
		t.Errorf("%s: want a native sidecar with a startup probe", pod.Name)
	}
	mount := func(m corev1.VolumeMount) bool {
		return m.Name == "secret-sync" && m.MountPath == "/secrets" && m.ReadOnly
	}
	token := func(m corev1.VolumeMount) bool {
		return m.MountPath == "/var/run/secrets/kubernetes.io/serviceaccount"
	}
	if !slices.ContainsFunc(app.VolumeMounts, mount) || slices.ContainsFunc(app.VolumeMounts, token) {
		t.Errorf("%s: the app's mounts are %+v, want the files read-only and no token", pod.Name, app.VolumeMounts)
	}
	if !slices.ContainsFunc(sidecar.VolumeMounts, token) {
		t.Errorf("%s: the sidecar mounts no token", pod.Name)
	}
	checkIdentity(t, pod)
	if share := pod.Spec.ShareProcessNamespace; share == nil || !*share {
		t.Errorf("%s: the process namespace is not shared", pod.Name)
	}
}

// checkIdentity checks that secret-sync learns the name and UID of its Pod, without
// which `secret-sync wait` does not accept its answers.
func checkIdentity(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	paths := map[string]string{}
	for _, v := range pod.Spec.InitContainers[0].Env {
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			paths[v.Name] = v.ValueFrom.FieldRef.FieldPath
		}
	}
	for name, want := range map[string]string{"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"} {
		if got := paths[name]; got != want {
			t.Errorf("%s: %s is read from %q, want %q", pod.Name, name, got, want)
		}
	}
}
