package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
	"github.com/secret-sync/secret-sync/test/tools/load/candidate"
	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

// A bench is a control plane and the measurements on it.
type bench struct {
	options
	ctx context.Context
	cp  *controlplane.ControlPlane
	dir string // on a memory file system, like the volume of a Pod
	n   int    // the number of volumes
}

const account = "sidecar"

func newBench(ctx context.Context, o options) (*bench, error) {
	dir, err := os.MkdirTemp("/dev/shm", "secret-sync-load-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, ctx: ctx, dir: dir}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) prepare() (err error) {
	if b.binary == "" {
		if b.binary, err = build.Sidecar(b.ctx, b.dir); err != nil {
			return err
		}
	}
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	if b.cp, err = controlplane.Start(b.ctx, controlplane.Options{Progress: os.Stderr}); err != nil {
		return err
	}
	fmt.Printf("secret-sync of %s MB, %s, %s/%s, %d cores\n",
		usage.MB(info.Size()), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	return nil
}

func (b *bench) close() error {
	var err error
	if b.cp != nil {
		err = b.cp.Close()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// namespace creates a namespace and an account with the permissions from `secret-sync rbac`
// for this environment. It returns the environment of a sidecar in the namespace.
func (b *bench) namespace(name string, env ...string) ([]string, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := b.cp.Client.CoreV1().Namespaces().Create(b.ctx, ns, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	kubeconfig, err := b.cp.TokenKubeconfig(b.ctx, name, account)
	if err != nil {
		return nil, err
	}
	own := []string{"POD_NAMESPACE=" + name, "KUBECONFIG=" + kubeconfig, "SECRETSYNC_HTTP_ADDR=127.0.0.1:0"}
	env = append(own, env...)
	cmd := exec.CommandContext(b.ctx, b.binary, "rbac", account)
	cmd.Env, cmd.Stderr = env, os.Stderr
	role, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("secret-sync rbac: %w", err)
	}
	return env, controlplane.Apply(b.ctx, b.cp.Config, name, role, false)
}

// setSecret creates or updates a Secret with the given number of random bytes.
func (b *bench) setSecret(namespace, name string, size int, labels map[string]string) error {
	value := make([]byte, size)
	if _, err := rand.Read(value); err != nil {
		return err
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Data:       map[string][]byte{"password": value},
	}
	secrets := b.cp.Client.CoreV1().Secrets(namespace)
	_, err := secrets.Update(b.ctx, s, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = secrets.Create(b.ctx, s, metav1.CreateOptions{})
	}
	return err
}

// smallSecrets creates a namespace with n small Secrets named s0, s1 and so on. It returns
// the environment of a sidecar with a list of their names.
func (b *bench) smallSecrets(namespace string, n int) ([]string, error) {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("s", i))
	}
	env, err := b.namespace(namespace, "SECRETSYNC_SECRETS="+strings.Join(names, ","))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := b.setSecret(namespace, name, small, nil); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// volume creates a directory for a sidecar.
func (b *bench) volume() (string, error) {
	b.n++
	dir := filepath.Join(b.dir, fmt.Sprint("volume", b.n))
	return dir, os.Mkdir(dir, 0o777)
}

// launch starts a sidecar with a new volume.
func (b *bench) launch(env ...string) (*candidate.Process, error) {
	dir, err := b.volume()
	if err != nil {
		return nil, err
	}
	return candidate.Start(exec.Command(b.binary), dir, env)
}

// table prints aligned columns. The first row is the header.
func table(title string, rows [][]string) {
	fmt.Printf("\n%s\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		for _, cell := range row {
			fmt.Fprintf(w, "%s\t", cell)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}
