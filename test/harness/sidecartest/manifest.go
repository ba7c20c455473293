package sidecartest

import (
	"encoding/json"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// Restrict has the namespace enforce the strictest Pod Security.
func (s *Scene) Restrict() {
	s.T.Helper()
	patch := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if _, err := plane.Client.CoreV1().Namespaces().Patch(s.T.Context(), s.Namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		s.T.Fatal(err)
	}
}

// Kustomize is what `kubectl kustomize FOLDER` prints.
func (s *Scene) Kustomize(folder string) []byte {
	s.T.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		s.T.Fatal(err)
	}
	manifest, err := resources.AsYaml()
	if err != nil {
		s.T.Fatal(err)
	}
	return manifest
}

// DryRun has the API server take a manifest without keeping it, and the Pods of its
// workloads: Pod Security refuses Pods only. It returns these Pods.
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
		s.makeAccount(pod.Spec.ServiceAccountName)
		pod, err := plane.Client.CoreV1().Pods(s.Namespace).Create(s.T.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			s.T.Fatalf("a Pod of %s %s: %v", o.GetKind(), o.GetName(), err)
		}
		pods = append(pods, pod)
	}
	return pods
}

// makeAccount makes a service account for real: without it no Pod is taken.
func (s *Scene) makeAccount(name string) {
	s.T.Helper()
	if name == "" {
		name = "default"
	}
	if _, err := plane.TokenKubeconfig(s.T.Context(), s.Namespace, name); err != nil {
		s.T.Fatal(err)
	}
}

// template is the Pod template of a workload, or a Pod itself; nil for another object.
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

// Rules is a text of the rules of the Role of this name in a manifest.
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
	t.Fatal(fmt.Errorf("there is no Role %q", name))
	return ""
}
