//go:build kubelet

package kubelet

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/examples/internal/controlplane"
)

// scene is a namespace with one workload and its Secret.
type scene struct {
	*testing.T
	namespace string
	ports     map[string]string // container → address
}

func newScene(t *testing.T) *scene {
	t.Helper()
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kubelet-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
			t.Error(err)
		}
	})
	return &scene{T: t, namespace: ns.Name, ports: map[string]string{}}
}

// put makes or changes a Secret.
func (s *scene) put(name string, data map[string]string) {
	s.Helper()
	s.putLabels(name, nil, data)
}

func (s *scene) putLabels(name string, labels, data map[string]string) {
	s.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, StringData: data}
	until(s.T, "the Secret is put", func() error {
		_, err := client.CoreV1().Secrets(s.namespace).Update(s.Context(), secret, metav1.UpdateOptions{})
		if errors.IsNotFound(err) {
			_, err = client.CoreV1().Secrets(s.namespace).Create(s.Context(), secret, metav1.CreateOptions{})
		}
		return err
	})
}

func (s *scene) putPassword(password string) {
	s.Helper()
	s.put("db", map[string]string{"username": "app", "password": password})
}

// deploy applies a folder's kustomization with the images of this run, and changes
// the Pods by change.
func (s *scene) deploy(folder string, change func(*corev1.PodTemplateSpec)) {
	s.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		s.Fatal(err)
	}
	manifest, err := resources.AsYaml()
	if err != nil {
		s.Fatal(err)
	}
	s.apply(manifest, change)
}

func (s *scene) apply(manifest []byte, change func(*corev1.PodTemplateSpec)) {
	s.Helper()
	objects, err := controlplane.Decode(manifest)
	if err != nil {
		s.Fatal(err)
	}
	var b strings.Builder
	for _, o := range objects {
		if kind := o.GetKind(); kind == "Deployment" || kind == "Job" {
			s.adapt(o, change)
		}
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			s.Fatal(err)
		}
		fmt.Fprintf(&b, "---\n%s", text)
	}
	if err := controlplane.Apply(s.Context(), config, s.namespace, []byte(b.String()), false); err != nil {
		s.Fatal(err)
	}
}

// adapt gives the Pods of a workload their images, and ports of their own.
func (s *scene) adapt(o *unstructured.Unstructured, change func(*corev1.PodTemplateSpec)) {
	s.Helper()
	object, _, err := unstructured.NestedMap(o.Object, "spec", "template")
	if err != nil {
		s.Fatal(err)
	}
	var template corev1.PodTemplateSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &template); err != nil {
		s.Fatal(err)
	}
	for i := range template.Spec.InitContainers {
		s.sidecar(&template.Spec.InitContainers[i])
	}
	for i := range template.Spec.Containers {
		s.app(&template.Spec.Containers[i])
	}
	for key, value := range template.Annotations {
		template.Annotations[key] = strings.Replace(value, "localhost:8080", s.ports["app"], 1)
	}
	if change != nil {
		change(&template)
	}
	if object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&template); err == nil {
		err = unstructured.SetNestedMap(o.Object, object, "spec", "template")
	}
	if err == nil && o.GetKind() == "Deployment" { // two Pods cannot have the same ports
		o.Object["spec"].(map[string]any)["replicas"] = int64(1)
		err = unstructured.SetNestedField(o.Object, "Recreate", "spec", "strategy", "type")
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) sidecar(c *corev1.Container) {
	addr := s.freeAddr()
	c.Image, c.ImagePullPolicy = *sidecarImage, corev1.PullNever
	set(c, "SECRETSYNC_HTTP_ADDR", addr)
	c.Ports = nil
	s.ports[c.Name] = addr
}

func (s *scene) app(c *corev1.Container) {
	addr := s.freeAddr()
	s.ports[c.Name], c.Ports = addr, nil
	if c.Name == "nginx" {
		c.Image, c.ImagePullPolicy = *nginxImage, corev1.PullNever
		return
	}
	c.Image, c.ImagePullPolicy, c.Command = *appImage, corev1.PullNever, []string{"/" + c.Name}
	set(c, "READER_ADDR", addr)
	set(c, "READER_DIR", "/secrets/db")
	set(c, "READER_FOLLOW", "/secrets/db")
}

// set gives a container's variable this value.
func set(c *corev1.Container, name, value string) {
	c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
	c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
}

// freeAddr is an address on loopback: the Pods of the node are on its network.
func (s *scene) freeAddr() string {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// loaded waits until the container has read this password.
func (s *scene) loaded(container, password string) answer {
	s.Helper()
	var a answer
	until(s.T, container+" has the password "+password, func() (err error) {
		if a, err = ask(s.ports[container]); err == nil && a.Loaded["password"] != password {
			err = fmt.Errorf("got %q by %s", a.Loaded["password"], a.By)
		}
		return err
	})
	return a
}

// pod is the only one that is not being deleted.
func (s *scene) pod() (*corev1.Pod, error) {
	pods, err := client.CoreV1().Pods(s.namespace).List(s.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			return &pods.Items[i], nil
		}
	}
	return nil, fmt.Errorf("no Pod is there")
}

func (s *scene) restarts(container string) int32 {
	s.Helper()
	pod, err := s.pod()
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range append(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses...) {
		if c.Name == container {
			return c.RestartCount
		}
	}
	return 0
}

// process is the PID of the Pod's process of this name, on the node.
func (s *scene) process(comm string) (int, error) {
	pod, err := s.pod()
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
		group, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if strings.TrimSpace(string(name)) == comm && strings.Contains(strings.ReplaceAll(string(group), "_", "-"), string(pod.UID)) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no process %s of Pod %s", comm, pod.Name)
}
