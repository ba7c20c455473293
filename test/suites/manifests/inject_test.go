package manifests

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// injected is a namespace that has opted in, with both policies in effect.
func injected(t *testing.T) *st.Scene {
	t.Helper()
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.Restrict()
	if err := controlplane.Apply(t.Context(), st.ControlPlane().Config, "", s.Kustomize("../../../examples/inject"), false); err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"metadata":{"labels":{"secret-sync/inject":"enabled"}}}`)
	if _, err := st.ControlPlane().Client.CoreV1().Namespaces().Patch(t.Context(), s.Namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.ControlPlane().TokenKubeconfig(t.Context(), s.Namespace, "app"); err != nil {
		t.Fatal(err)
	}
	st.Until(t, "both policies take effect", func() error {
		pod, err := create(s, plainPod(map[string]string{"secret-sync/secrets": "db"}))
		if err != nil || mounts(pod) == "" {
			return fmt.Errorf("nothing is added: %v", err)
		}
		if _, err = create(s, plainPod(map[string]string{"secret-sync/unknown": "db"})); err == nil {
			return errors.New("an unknown annotation is taken")
		}
		return nil
	})
	return s
}

// plainPod is a Pod of somebody who does not know the sidecar, but for the annotations.
func plainPod(annotations map[string]string, changes ...func(*corev1.PodSpec)) *corev1.Pod {
	restricted := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-", Annotations: annotations}, Spec: corev1.PodSpec{
		ServiceAccountName:           "app",
		AutomountServiceAccountToken: new(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: []corev1.Container{{Name: "migrate", Image: "app:1", SecurityContext: restricted.DeepCopy()}},
		Containers: []corev1.Container{
			{Name: "app", Image: "app:1", SecurityContext: restricted.DeepCopy()},
			{Name: "proxy", Image: "app:1", SecurityContext: restricted.DeepCopy()},
		},
	}}
	for _, change := range changes {
		change(&pod.Spec)
	}
	return pod
}

// create has the API server say what it would make of a Pod.
func create(s *st.Scene, pod *corev1.Pod) (*corev1.Pod, error) {
	return st.ControlPlane().Client.CoreV1().Pods(s.Namespace).Create(s.T.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// TestInject: the Pod has what the annotations ask for, and nothing is left out that
// the component gives.
func TestInject(t *testing.T) {
	s := injected(t)
	secrets := map[string]string{"secret-sync/secrets": "db"}
	tests := []struct {
		name        string
		annotations map[string]string
		change      func(*corev1.PodSpec)
		mounts      string // containers, each with its path
		user        int64
		shared      bool
	}{
		{name: "files only", mounts: "app:/secrets", user: 65532},
		{name: "webhook", annotations: map[string]string{"secret-sync/webhook-url": "http://localhost:8080/reload"}, mounts: "app:/secrets", user: 65532},
		{name: "signal", annotations: map[string]string{"secret-sync/process": "app"}, mounts: "app:/secrets", user: 65532, shared: true},
		{name: "two readers, and an init container", annotations: map[string]string{"secret-sync/containers": "app, proxy,migrate", "secret-sync/mount-path": "/etc/db"},
			mounts: "app:/etc/db migrate:/etc/db proxy:/etc/db", user: 65532},
		{name: "the app's UID", change: func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.RunAsUser = new(int64(1000)) }, mounts: "app:/secrets", user: 1000},
		{name: "the other's UID", annotations: map[string]string{"secret-sync/containers": "proxy"},
			change: func(p *corev1.PodSpec) { p.Containers[1].SecurityContext.RunAsUser = new(int64(1001)) }, mounts: "proxy:/secrets", user: 1001},
		{name: "volumes and mounts of its own", mounts: "app:/secrets", user: 65532, change: func(p *corev1.PodSpec) {
			p.InitContainers = nil
			p.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			p.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			annotations := maps.Clone(secrets)
			maps.Copy(annotations, test.annotations)
			before := plainPod(annotations)
			if test.change != nil {
				test.change(&before.Spec)
			}
			pod, err := create(s, before)
			if err != nil {
				t.Fatal(err)
			}
			if got := mounts(pod); got != test.mounts {
				t.Errorf("got mounts %q, want %q", got, test.mounts)
			}
			if first := pod.Spec.InitContainers[0]; first.Name != "secret-sync" || *first.SecurityContext.RunAsUser != test.user {
				t.Errorf("the first init container is %s of UID %d, want secret-sync of %d", first.Name, *first.SecurityContext.RunAsUser, test.user)
			}
			if got := pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace; got != test.shared {
				t.Errorf("got shareProcessNamespace %v, want %v", got, test.shared)
			}
			if got, want := len(pod.Spec.InitContainers), len(before.Spec.InitContainers)+1; got != want {
				t.Errorf("got %d init containers, want %d", got, want)
			}
			if got, want := len(pod.Spec.Volumes), len(before.Spec.Volumes)+2; got != want {
				t.Errorf("got %d volumes, want %d", got, want)
			}
		})
	}
}

// mounts lists who mounts the volume, read-only, and where.
func mounts(pod *corev1.Pod) string {
	var list []string
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		for _, m := range c.VolumeMounts {
			if m.Name == "secret-sync" && m.ReadOnly {
				list = append(list, c.Name+":"+m.MountPath)
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestInjectAsTheComponent: both ways add the same container and volumes.
func TestInjectAsTheComponent(t *testing.T) {
	s := injected(t)
	want := s.DryRun(s.Kustomize("../../../examples/component/example"))[0].Spec
	pod, err := create(s, plainPod(map[string]string{"secret-sync/secrets": "db", "secret-sync/process": "app"}))
	if err != nil {
		t.Fatal(err)
	}
	got := pod.Spec
	got.InitContainers[0].SecurityContext.RunAsUser = nil // the component leaves it to the Pod
	if !reflect.DeepEqual(got.InitContainers[0], want.InitContainers[0]) {
		t.Errorf("got the sidecar\n%+v\nwant that of the component\n%+v", got.InitContainers[0], want.InitContainers[0])
	}
	byName := func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(got.Volumes, byName)
	slices.SortFunc(want.Volumes, byName)
	if !reflect.DeepEqual(got.Volumes, want.Volumes) {
		t.Errorf("got the volumes\n%+v\nwant those of the component\n%+v", got.Volumes, want.Volumes)
	}
}

// TestInjectLeavesAlone: nothing changes for Pods that do not ask, that have the
// sidecar already, or are in a namespace that did not opt in.
func TestInjectLeavesAlone(t *testing.T) {
	s := injected(t)
	other := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	if _, err := st.ControlPlane().TokenKubeconfig(t.Context(), other.Namespace, "app"); err != nil {
		t.Fatal(err)
	}
	annotations := map[string]string{"secret-sync/secrets": "db"}
	has := func(p *corev1.PodSpec) { p.InitContainers[0].Name = "secret-sync" }
	for name, test := range map[string]struct {
		scene *st.Scene
		pod   *corev1.Pod
	}{
		"no annotation":        {s, plainPod(nil)},
		"has the sidecar":      {s, plainPod(annotations, has)},
		"namespace not opened": {other, plainPod(annotations)},
	} {
		t.Run(name, func(t *testing.T) {
			pod, err := create(test.scene, test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if len(pod.Spec.InitContainers) != 1 || len(pod.Spec.Volumes) != 0 || mounts(pod) != "" {
				t.Errorf("got init containers %v and volumes %v, want the Pod as it was", pod.Spec.InitContainers, pod.Spec.Volumes)
			}
		})
	}
}

// TestInjectRefuses: what is wrong is said.
func TestInjectRefuses(t *testing.T) {
	s := injected(t)
	tests := map[string]struct {
		annotations map[string]string
		change      func(*corev1.PodSpec)
		want        string
	}{
		"unknown":        {annotations: map[string]string{"secret-sync/secret": "db"}, want: "unknown annotation secret-sync/secret: there are secret-sync/secrets, "},
		"no Secrets":     {annotations: map[string]string{"secret-sync/process": "app"}, want: "secret-sync/secrets is missing"},
		"empty":          {annotations: map[string]string{"secret-sync/secrets": " "}, want: "secret-sync/secrets is empty"},
		"empty list":     {annotations: map[string]string{"secret-sync/secrets": ", ,"}, want: "secret-sync/secrets: , , is not a list of names"},
		"bad name":       {annotations: map[string]string{"secret-sync/secrets": "db,Web"}, want: "db,Web is not a list of names"},
		"empty process":  {annotations: map[string]string{"secret-sync/secrets": "db", "secret-sync/process": ""}, want: "secret-sync/process is empty"},
		"relative path":  {annotations: map[string]string{"secret-sync/secrets": "db", "secret-sync/mount-path": "etc"}, want: "secret-sync/mount-path: etc is not an absolute path"},
		"dots":           {annotations: map[string]string{"secret-sync/secrets": "db", "secret-sync/mount-path": "/a/../b"}, want: "/a/../b is not an absolute path"},
		"no container":   {annotations: map[string]string{"secret-sync/secrets": "db", "secret-sync/containers": "app,web"}, want: "the Pod has no container web, only app, proxy, migrate"},
		"path not free":  {annotations: map[string]string{"secret-sync/secrets": "db"}, change: mountsItself, want: "container app has another volume at /secrets"},
		"not restricted": {annotations: map[string]string{"secret-sync/secrets": "db"}, change: runsAsRoot, want: "violates PodSecurity"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := plainPod(test.annotations)
			if test.change != nil {
				test.change(&pod.Spec)
			}
			_, err := create(s, pod)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want it to say %q", err, test.want)
			}
		})
	}
}

func mountsItself(p *corev1.PodSpec) {
	p.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/secrets"}}
}

func runsAsRoot(p *corev1.PodSpec) {
	p.SecurityContext.RunAsUser, p.SecurityContext.RunAsNonRoot = new(int64(0)), new(false)
}
