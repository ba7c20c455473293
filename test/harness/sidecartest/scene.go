package sidecartest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// Account is the service account of the sidecar.
const Account = "sidecar"

// Env maps the names of environment variables to values.
type Env map[string]string

// A Scene consists of a namespace, a volume and a matching environment.
type Scene struct {
	T          testing.TB
	Namespace  string
	Dir        string // the volume
	Kubeconfig string // for the service account
	Env        Env    // the environment of every process of the sidecar
	// StartProcess starts the sidecar; nil means childprocess.Start.
	StartProcess func(*exec.Cmd) (*childprocess.Process, error)
}

// New returns a scene. Its service account has the permissions from `secret-sync rbac`
// for this environment. The HTTP server is off unless env sets its address.
func New(t testing.TB, env Env) *Scene {
	t.Helper()
	s := NewWithoutRole(t, env)
	s.Apply(s.Print("rbac", Account))
	return s
}

// NewWithoutRole returns a scene whose service account is allowed nothing.
func NewWithoutRole(t testing.TB, env Env) *Scene {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	ns, err := plane.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := plane.TokenKubeconfig(t.Context(), ns.Name, Account)
	if err != nil {
		t.Fatal(err)
	}
	s := &Scene{T: t, Namespace: ns.Name, Dir: testsupport.MemoryDir(t), Kubeconfig: kubeconfig}
	s.Env = Env{
		"KUBECONFIG":           kubeconfig,
		"POD_NAMESPACE":        ns.Name,
		"SECRETSYNC_DIR":       s.Dir,
		"SECRETSYNC_HTTP_ADDR": "",
		"SECRETSYNC_LOG_LEVEL": "debug",
	}
	maps.Copy(s.Env, env)
	return s
}

// Print returns the output of `secret-sync ARGS` in this environment.
func (s *Scene) Print(args ...string) []byte {
	s.T.Helper()
	return s.PrintWith(nil, args...)
}

// PrintWith is Print with changes to the environment.
func (s *Scene) PrintWith(changes Env, args ...string) []byte {
	s.T.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = s.Env.list(changes)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			s.T.Fatalf("secret-sync %q: %v\n%s", args, err, exit.Stderr)
		}
		s.T.Fatal(err)
	}
	return out
}

// Get returns a Secret.
func (s *Scene) Get(name string) *corev1.Secret {
	s.T.Helper()
	secret, err := s.Secrets().Get(s.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
	return secret
}

// Apply applies a manifest as an administrator.
func (s *Scene) Apply(manifest []byte) {
	s.T.Helper()
	if err := controlplane.Apply(s.T.Context(), plane.Config, s.Namespace, manifest, false); err != nil {
		s.T.Fatal(err)
	}
}

// Secrets returns an administrator's client for the Secrets of the namespace.
func (s *Scene) Secrets() v1.SecretInterface { return plane.Client.CoreV1().Secrets(s.Namespace) }

// SetSecret creates or replaces the Secret, with exactly these keys. Labels are "name=value".
func (s *Scene) SetSecret(name string, data map[string]string, labels ...string) {
	s.T.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}},
		Data:       map[string][]byte{},
	}
	for k, v := range data {
		secret.Data[k] = []byte(v)
	}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		secret.Labels[k] = v
	}
	_, err := s.Secrets().Update(s.T.Context(), secret, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = s.Secrets().Create(s.T.Context(), secret, metav1.CreateOptions{})
	}
	if err != nil {
		s.T.Fatalf("set Secret %s: %v", name, err)
	}
}

// Delete deletes a Secret.
func (s *Scene) Delete(name string) {
	s.T.Helper()
	// The test's context is already canceled during cleanup.
	if err := s.Secrets().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		s.T.Fatalf("delete Secret %s: %v", name, err)
	}
}

// Ready runs `secret-sync ready` and returns nil for exit code 0.
func (s *Scene) Ready() error {
	cmd := exec.Command(binary, "ready")
	cmd.Env = s.Env.list(nil)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("secret-sync ready: %w: %s", err, out.String())
	}
	return nil
}

// list returns the environment with changes, in the form for exec.Cmd. It contains
// nothing from the environment of the test.
func (e Env) list(changes Env) []string {
	env := maps.Clone(e)
	maps.Copy(env, changes)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
