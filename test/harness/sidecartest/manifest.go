package sidecartest

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/secret-sync/secret-sync/test/harness/kustomize"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// Restrict makes the namespace enforce the Pod Security level "restricted".
func (s *Scene) Restrict() {
	s.T.Helper()
	patch := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	namespaces := plane.Client.CoreV1().Namespaces()
	_, err := namespaces.Patch(s.T.Context(), s.Namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
}

// Kustomize returns the output of `kubectl kustomize FOLDER`.
func (s *Scene) Kustomize(folder string) []byte {
	s.T.Helper()
	manifest, err := kustomize.Render(folder)
	if err != nil {
		s.T.Fatal(err)
	}
	return manifest
}

// DryRun applies a manifest as a server-side dry run. It also creates the Pods of the
// workloads as a dry run, because Pod Security rejects only Pods. It returns the Pods.
func (s *Scene) DryRun(manifest []byte) []*corev1.Pod {
	s.T.Helper()
	if err := controlplane.Apply(s.T.Context(), plane.Config, s.Namespace, manifest, true); err != nil {
		s.T.Fatal(err)
	}
	objects, err := controlplane.Decode(manifest)
	if err != nil {
		s.T.Fatal(err)
	}
	var pods []*corev1.Pod
	for _, o := range objects {
		template := s.template(o)
		if template == nil {
			continue
		}
		pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
		pod.GenerateName = o.GetName() + "-"
		s.createAccount(pod.Spec.ServiceAccountName)
		dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		pod, err := plane.Client.CoreV1().Pods(s.Namespace).Create(s.T.Context(), pod, dryRun)
		if err != nil {
			s.T.Fatalf("a Pod of %s %s: %v", o.GetKind(), o.GetName(), err)
		}
		pods = append(pods, pod)
	}
	return pods
}

// createAccount creates the service account: even a dry run of a Pod requires it.
func (s *Scene) createAccount(name string) {
	s.T.Helper()
	if name == "" {
		name = "default"
	}
	if _, err := plane.TokenKubeconfig(s.T.Context(), s.Namespace, name); err != nil {
		s.T.Fatal(err)
	}
}

// template returns the Pod template of a workload, or the Pod itself. It returns nil for
// every other kind of object.
func (s *Scene) template(o *unstructured.Unstructured) *corev1.PodTemplateSpec {
	s.T.Helper()
	var path []string
	switch o.GetKind() {
	case "Pod":
	case "Deployment", "StatefulSet", "DaemonSet", "Job":
		path = []string{"spec", "template"}
	case "CronJob":
		path = []string{"spec", "jobTemplate", "spec", "template"}
	default:
		return nil
	}
	object, found, err := unstructured.NestedMap(o.Object, path...)
	template := &corev1.PodTemplateSpec{}
	if err == nil && found {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(object, template)
	}
	if err != nil || !found {
		s.T.Fatalf("the Pod of %s %s: found %v, %v", o.GetKind(), o.GetName(), found, err)
	}
	return template
}

// Rules returns the rules of the Role with this name in a manifest, as JSON.
func Rules(t testing.TB, manifest []byte, name string) string {
	t.Helper()
	objects, err := controlplane.Decode(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "Role" || o.GetName() != name {
			continue
		}
		var role rbacv1.Role
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(role.Rules)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatalf("the manifest contains no Role %q", name)
	return ""
}
