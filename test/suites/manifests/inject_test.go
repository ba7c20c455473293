package manifests

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// injected returns a scene whose namespace opted in, with both policies in effect.
func injected(t *testing.T) *st.Scene {
	t.Helper()
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.Restrict()
	policies := s.Kustomize("../../../examples/inject")
	if err := controlplane.Apply(t.Context(), st.ControlPlane().Config, "", policies, false); err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"metadata":{"labels":{"secret-sync/inject":"enabled"}}}`)
	namespaces := st.ControlPlane().Client.CoreV1().Namespaces()
	_, err := namespaces.Patch(t.Context(), s.Namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.ControlPlane().TokenKubeconfig(t.Context(), s.Namespace, "app"); err != nil {
		t.Fatal(err)
	}
	testsupport.Eventually(t, "both policies take effect", func() error {
		pod, err := create(s, plainPod(map[string]string{"secret-sync/secrets": "db"}))
		if err != nil || mounts(pod) == "" {
			return fmt.Errorf("the policy adds nothing: %v", err)
		}
		if _, err = create(s, plainPod(map[string]string{"secret-sync/unknown": "db"})); err == nil {
			return errors.New("the policy accepts an unknown annotation")
		}
		return nil
	})
	return s
}

// plainPod returns a Pod without the sidecar, with annotations for it.
func plainPod(annotations map[string]string, changes ...func(*corev1.PodSpec)) *corev1.Pod {
	restricted := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-", Annotations: annotations},
		Spec: corev1.PodSpec{
			ServiceAccountName:           "app",
			AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			InitContainers: []corev1.Container{
				{Name: "migrate", Image: "app:1", SecurityContext: restricted.DeepCopy()},
			},
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

// create returns the Pod as the API server would create it, by a dry run.
func create(s *st.Scene, pod *corev1.Pod) (*corev1.Pod, error) {
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	return st.ControlPlane().Client.CoreV1().Pods(s.Namespace).Create(s.T.Context(), pod, dryRun)
}

// TestInject_followsTheAnnotations checks the mounts, the UID and the process namespace of
// Pods with different annotations.
func TestInject_followsTheAnnotations(t *testing.T) {
	s := injected(t)
	secrets := map[string]string{"secret-sync/secrets": "db"}
	tests := []struct {
		name        string
		annotations map[string]string
		change      func(*corev1.PodSpec)
		mounts      string // CONTAINER:PATH of each reader
		user        int64
		shared      bool
	}{
		{name: "files only", mounts: "app:/secrets", user: 65532},
		{
			name: "webhook", annotations: map[string]string{"secret-sync/webhook-url": "http://localhost:8080/reload"},
			mounts: "app:/secrets", user: 65532,
		},
		{
			name: "signal", annotations: map[string]string{"secret-sync/process": "app"},
			mounts: "app:/secrets", user: 65532, shared: true,
		},
		{
			name: "two readers and an init container",
			annotations: map[string]string{
				"secret-sync/containers": "app, proxy,migrate", "secret-sync/mount-path": "/etc/db",
			},
			mounts: "app:/etc/db migrate:/etc/db proxy:/etc/db", user: 65532,
		},
		{
			name:   "UID of the first container",
			change: func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.RunAsUser = new(int64(1000)) },
			mounts: "app:/secrets", user: 1000,
		},
		{
			name: "UID of the reader", annotations: map[string]string{"secret-sync/containers": "proxy"},
			change: func(p *corev1.PodSpec) { p.Containers[1].SecurityContext.RunAsUser = new(int64(1001)) },
			mounts: "proxy:/secrets", user: 1001,
		},
		{name: "other volumes and mounts", change: mountsAnotherVolume, mounts: "app:/secrets", user: 65532},
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
			first := pod.Spec.InitContainers[0]
			if uid := *first.SecurityContext.RunAsUser; first.Name != "secret-sync" || uid != test.user {
				t.Errorf("the first init container is %s with UID %d, want secret-sync with UID %d",
					first.Name, uid, test.user)
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

// mountsAnotherVolume removes the init container and mounts a volume at /tmp.
func mountsAnotherVolume(p *corev1.PodSpec) {
	p.InitContainers = nil
	p.Volumes = []corev1.Volume{emptyDir("tmp")}
	p.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}
}

func emptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// mounts lists the containers with a read-only mount of the volume, as CONTAINER:PATH.
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

// TestInject_equalsTheComponent compares the container and the volumes from the policy
// with the component.
func TestInject_equalsTheComponent(t *testing.T) {
	s := injected(t)
	want := s.DryRun(s.Kustomize("../../../examples/component/example"))[0].Spec
	pod, err := create(s, plainPod(map[string]string{"secret-sync/secrets": "db", "secret-sync/process": "app"}))
	if err != nil {
		t.Fatal(err)
	}
	got := pod.Spec
	got.InitContainers[0].SecurityContext.RunAsUser = nil  // the component uses the UID of the Pod
	got.InitContainers[0].Env = want.InitContainers[0].Env // see variables_test.go
	if !reflect.DeepEqual(got.InitContainers[0], want.InitContainers[0]) {
		t.Errorf("got the sidecar\n%+v\nwant the component's sidecar\n%+v",
			got.InitContainers[0], want.InitContainers[0])
	}
	byName := func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(got.Volumes, byName)
	slices.SortFunc(want.Volumes, byName)
	if !reflect.DeepEqual(got.Volumes, want.Volumes) {
		t.Errorf("got the volumes\n%+v\nwant the component's volumes\n%+v", got.Volumes, want.Volumes)
	}
}

// TestInject_leavesOtherPods covers Pods without the annotation, Pods with the sidecar, and
// Pods in a namespace without the opt-in. The policy must not change them.
func TestInject_leavesOtherPods(t *testing.T) {
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
		"no annotation":                 {s, plainPod(nil)},
		"sidecar present":               {s, plainPod(annotations, has)},
		"namespace that did not opt in": {other, plainPod(annotations)},
	} {
		t.Run(name, func(t *testing.T) {
			pod, err := create(test.scene, test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if len(pod.Spec.InitContainers) != 1 || len(pod.Spec.Volumes) != 0 || mounts(pod) != "" {
				t.Errorf("got init containers %v and volumes %v, want the unchanged Pod",
					pod.Spec.InitContainers, pod.Spec.Volumes)
			}
		})
	}
}

// annotations parses a query such as "secrets=db&process=app" and adds the prefix to each
// name.
func annotations(t *testing.T, query string) map[string]string {
	t.Helper()
	parsed, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name := range parsed {
		all["secret-sync/"+name] = parsed.Get(name)
	}
	return all
}
