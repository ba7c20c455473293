package nodetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/kustomize"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// A Scene is a namespace with a single workload and its Secret.
type Scene struct {
	*testing.T
	*Cluster
	Namespace string
	Addresses map[string]string // container → address on which it listens
}

// Scene creates a namespace, which is deleted when the test ends.
func (c *Cluster) Scene(t *testing.T) *Scene {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kubelet-"}}
	ns, err := c.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
		if err := c.Client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, now); err != nil {
			t.Error(err)
		}
	})
	return &Scene{T: t, Cluster: c, Namespace: ns.Name, Addresses: map[string]string{}}
}

// SetSecret creates or updates a Secret.
func (s *Scene) SetSecret(name string, data map[string]string) {
	s.Helper()
	s.SetLabeledSecret(name, nil, data)
}

// SetLabeledSecret creates or updates a Secret with labels.
func (s *Scene) SetLabeledSecret(name string, labels, data map[string]string) {
	s.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, StringData: data}
	Until(s.T, "the update of the Secret", func() error {
		_, err := s.Client.CoreV1().Secrets(s.Namespace).Update(s.Context(), secret, metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			_, err = s.Client.CoreV1().Secrets(s.Namespace).Create(s.Context(), secret, metav1.CreateOptions{})
		}
		return err
	})
}

// SetPassword creates or updates the Secret "db" with this password.
func (s *Scene) SetPassword(password string) {
	s.Helper()
	s.SetSecret("db", map[string]string{"username": "app", "password": password})
}

// Deploy applies the kustomization in folder. Its Pods use the images of this run. If
// change is not nil, it can modify them further.
func (s *Scene) Deploy(folder string, change func(*corev1.PodTemplateSpec)) {
	s.Helper()
	text, err := kustomize.Render(folder)
	if err != nil {
		s.Fatal(err)
	}
	s.Apply(text, change)
}

// Apply is Deploy for a rendered manifest.
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

// adapt sets the images of a workload's Pods and gives each container a free port.
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
		s.adaptSidecar(&template.Spec.InitContainers[i])
	}
	for i := range template.Spec.Containers {
		s.adaptApp(&template.Spec.Containers[i])
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
	if err == nil && o.GetKind() == "Deployment" { // two Pods on the host network cannot share ports
		o.Object["spec"].(map[string]any)["replicas"] = int64(1)
		err = unstructured.SetNestedField(o.Object, "Recreate", "spec", "strategy", "type")
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *Scene) adaptSidecar(c *corev1.Container) {
	addr := childprocess.FreeAddr(s)
	c.Image, c.ImagePullPolicy = s.Images.Sidecar, corev1.PullNever
	Set(c, "SECRETSYNC_HTTP_ADDR", addr)
	c.Ports = nil
	s.Addresses[c.Name] = addr
}

func (s *Scene) adaptApp(c *corev1.Container) {
	addr := childprocess.FreeAddr(s)
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

// Set sets an environment variable of a container.
func Set(c *corev1.Container, name, value string) {
	c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
	c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
}

// Loaded waits until the container has loaded this password, and returns its state.
func (s *Scene) Loaded(container, password string) Answer {
	s.Helper()
	var a Answer
	Until(s.T, container+" to load the password "+password, func() (err error) {
		if a, err = Ask(s.Addresses[container]); err == nil && a.Loaded["password"] != password {
			err = fmt.Errorf("got %q by %s", a.Loaded["password"], a.By)
		}
		return err
	})
	return a
}

// Pod returns a Pod of the namespace. It ignores Pods being deleted.
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
	return nil, errors.New("no Pod is running")
}

// Restarts returns the restart count of a container of the Pod.
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

// Process returns the PID, on the node, of the Pod's process with this name.
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
		inPod := strings.Contains(strings.ReplaceAll(string(group), "_", "-"), string(pod.UID))
		if strings.TrimSpace(string(name)) == comm && inPod {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no process %s of Pod %s", comm, pod.Name)
}

// Metric returns nil if the sidecar's metrics contain this series with a value other
// than 0.
func (s *Scene) Metric(series string) error {
	r, err := readerClient.Get("http://" + s.Addresses["secret-sync"] + "/metrics")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok && value != "0" {
			return nil
		}
	}
	return fmt.Errorf("the metric %s is missing or 0", series)
}
