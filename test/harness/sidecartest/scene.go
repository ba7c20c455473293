package sidecartest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// Account is the service account that the sidecar runs as.
const Account = "sidecar"

// Env is an environment, by name.
type Env map[string]string

// Scene is a namespace, a volume, and an environment that fits them.
type Scene struct {
	T          testing.TB
	Namespace  string
	Dir        string // the volume
	Kubeconfig string // of the service account
	Env        Env    // what every Start has
	// StartProcess is how Start starts the sidecar: childprocess.Start when nil.
	StartProcess func(*exec.Cmd) (*childprocess.Process, error)
}

// New makes a scene. The service account may do what `secret-sync rbac` asks for
// in this environment. No HTTP server listens unless env says so.
func New(t testing.TB, env Env) *Scene {
	t.Helper()
	s := NewWithoutRole(t, env)
	s.Apply(s.RBAC())
	return s
}

// NewWithoutRole makes a scene whose service account may do nothing.
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
	s := &Scene{T: t, Namespace: ns.Name, Dir: Volume(t), Kubeconfig: kubeconfig}
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

// RBAC is what `secret-sync rbac` prints in this environment.
func (s *Scene) RBAC() []byte { return s.RBACOf(Account) }

// RBACOf is what `secret-sync rbac` prints for a service account.
func (s *Scene) RBACOf(account string) []byte {
	s.T.Helper()
	return s.Print("rbac", account)
}

// Print is what `secret-sync ARGS` prints in this environment.
func (s *Scene) Print(args ...string) []byte {
	s.T.Helper()
	return s.PrintWith(nil, args...)
}

// PrintWith is the same with changes to the environment.
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

// Get reads a Secret.
func (s *Scene) Get(name string) *corev1.Secret {
	s.T.Helper()
	secret, err := s.Secrets().Get(s.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
	return secret
}

// Apply applies a manifest as the administrator.
func (s *Scene) Apply(manifest []byte) {
	s.T.Helper()
	if err := controlplane.Apply(s.T.Context(), plane.Config, s.Namespace, manifest, false); err != nil {
		s.T.Fatal(err)
	}
}

// Secrets is the administrator's client.
func (s *Scene) Secrets() v1.SecretInterface { return plane.Client.CoreV1().Secrets(s.Namespace) }

// Put makes the Secret hold just these keys. Labels are "name=value".
func (s *Scene) Put(name string, data map[string]string, labels ...string) {
	s.T.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}, Data: map[string][]byte{}}
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
		s.T.Fatalf("put Secret %s: %v", name, err)
	}
}

// Delete deletes the Secret.
func (s *Scene) Delete(name string) {
	s.T.Helper()
	// Not the test's context, which is done when the test cleans up.
	if err := s.Secrets().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		s.T.Fatalf("delete Secret %s: %v", name, err)
	}
}

// Ready is what `secret-sync ready` answers: nil for exit 0.
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

// list gives the environment with changes, as exec wants it. Nothing of the
// test's own environment gets in.
func (e Env) list(changes Env) []string {
	all := maps.Clone(e)
	maps.Copy(all, changes)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list
}

// FreeAddr is a loopback address where nothing listens.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
