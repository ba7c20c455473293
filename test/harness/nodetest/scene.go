package nodetest

import (
	"context"
	"fmt"
	"io"
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

	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// Scene is a namespace with one workload and its Secret.
type Scene struct {
	*testing.T
	*Cluster
	Namespace string
	Addresses map[string]string // container → where it listens
}

// Scene makes a namespace, which goes with the test.
func (c *Cluster) Scene(t *testing.T) *Scene {
	t.Helper()
	ns, err := c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kubelet-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
			t.Error(err)
		}
	})
	return &Scene{T: t, Cluster: c, Namespace: ns.Name, Addresses: map[string]string{}}
}

// Put makes or changes a Secret.
func (s *Scene) Put(name string, data map[string]string) {
	s.Helper()
	s.PutLabels(name, nil, data)
}

// PutLabels is Put of a Secret with labels.
func (s *Scene) PutLabels(name string, labels, data map[string]string) {
	s.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, StringData: data}
	Until(s.T, "the Secret is put", func() error {
		_, err := s.Client.CoreV1().Secrets(s.Namespace).Update(s.Context(), secret, metav1.UpdateOptions{})
		if errors.IsNotFound(err) {
			_, err = s.Client.CoreV1().Secrets(s.Namespace).Create(s.Context(), secret, metav1.CreateOptions{})
		}
		return err
	})
}

// PutPassword puts the Secret "db".
func (s *Scene) PutPassword(password string) {
	s.Helper()
	s.Put("db", map[string]string{"username": "app", "password": password})
}

// Deploy applies a folder's kustomization with the images of this run, and changes
// the Pods by change.
func (s *Scene) Deploy(folder string, change func(*corev1.PodTemplateSpec)) {
	s.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		s.Fatal(err)
	}
	manifest, err := resources.AsYaml()
	if err != nil {
		s.Fatal(err)
	}
	s.Apply(manifest, change)
}

// Apply is Deploy of one manifest.
func (s *Scene) Apply(manifest []byte, change func(*corev1.PodTemplateSpec)) {
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
	if err := controlplane.Apply(s.Context(), s.Config, s.Namespace, []byte(b.String()), false); err != nil {
		s.Fatal(err)
	}
}

// adapt gives the Pods of a workload their images, and ports of their own.
func (s *Scene) adapt(o *unstructured.Unstructured, change func(*corev1.PodTemplateSpec)) {
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
		template.Annotations[key] = strings.Replace(value, "localhost:8080", s.Addresses["app"], 1)
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

func (s *Scene) sidecar(c *corev1.Container) {
	addr := s.FreeAddr()
	c.Image, c.ImagePullPolicy = s.Images.Sidecar, corev1.PullNever
	Set(c, "SECRETSYNC_HTTP_ADDR", addr)
	c.Ports = nil
	s.Addresses[c.Name] = addr
}

func (s *Scene) app(c *corev1.Container) {
	addr := s.FreeAddr()
	s.Addresses[c.Name], c.Ports = addr, nil
	if c.Name == "nginx" {
		c.Image, c.ImagePullPolicy = s.Images.Nginx, corev1.PullNever
		return
	}
	c.Image, c.ImagePullPolicy, c.Command = s.Images.App, corev1.PullNever, []string{"/" + c.Name}
	Set(c, "READER_ADDR", addr)
	Set(c, "READER_DIR", "/secrets/db")
	Set(c, "READER_FOLLOW", "/secrets/db")
}

// Set gives a container's variable this value.
func Set(c *corev1.Container, name, value string) {
	c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
	c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
}

// FreeAddr is an address on loopback: the Pods of the node are on its network.
func (s *Scene) FreeAddr() string {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Loaded waits until the container has read this password.
func (s *Scene) Loaded(container, password string) Answer {
	s.Helper()
	var a Answer
	Until(s.T, container+" has the password "+password, func() (err error) {
		if a, err = Ask(s.Addresses[container]); err == nil && a.Loaded["password"] != password {
			err = fmt.Errorf("got %q by %s", a.Loaded["password"], a.By)
		}
		return err
	})
	return a
}

// Pod is the only one that is not being deleted.
func (s *Scene) Pod() (*corev1.Pod, error) {
	pods, err := s.Client.CoreV1().Pods(s.Namespace).List(s.Context(), metav1.ListOptions{})
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

// Restarts is how often a container of the Pod was restarted.
func (s *Scene) Restarts(container string) int32 {
	s.Helper()
	pod, err := s.Pod()
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

// Process is the PID of the Pod's process of this name, on the node.
func (s *Scene) Process(comm string) (int, error) {
	pod, err := s.Pod()
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

// Metric gives nil when the sidecar's metrics have a line that begins so and is not 0.
func (s *Scene) Metric(begin string) error {
	r, err := asker.Get("http://" + s.Addresses["secret-sync"] + "/metrics")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), begin+" "); ok && value != "0" {
			return nil
		}
	}
	return fmt.Errorf("no %s, or 0", begin)
}
