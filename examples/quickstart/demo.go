package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/examples/quickstart/internal/accounts"
	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/harness/recipe"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
)

const (
	secretName = "db"
	account    = "quickstart"     // service account of the sidecars
	waiter     = "rotation"       // service account of `secret-sync wait`
	labels     = "app=quickstart" // labels of the replicas
	replicas   = 3
)

// A demo contains everything in the quickstart. The fields are in the order of setUp.
type demo struct {
	options  options
	app      app
	cleanups []func() error // run by cleanUp, in reverse order

	work      string // directory of the binaries and kubeconfigs
	program   recipe.Program
	cluster   *controlplane.Cluster
	namespace string
	database  *accounts.Database
	current   pool.Credentials // credentials in the Secret

	node      string // node of the Pods
	replicas  []*replica
	waitAs    string // kubeconfig of waiter
	rotations []rotation
}

func (d *demo) setUp(ctx context.Context) error {
	steps := []func(context.Context) error{
		d.makeDirectory, d.buildBinaries, d.startCluster, d.startDatabase,
		d.makeNamespace, d.grantAccounts, d.startReplicas,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cleanUp stops the processes and removes the objects of setUp, also of an unfinished setUp.
func (d *demo) cleanUp() error {
	var errs error
	for _, f := range slices.Backward(d.cleanups) {
		errs = errors.Join(errs, f())
	}
	return errs
}

// onCleanUp registers f to run in cleanUp.
func (d *demo) onCleanUp(f func() error) { d.cleanups = append(d.cleanups, f) }

func (d *demo) makeDirectory(context.Context) error {
	var err error
	if d.work, err = os.MkdirTemp("", "secret-sync-quickstart-"); err != nil {
		return err
	}
	d.onCleanUp(func() error { return os.RemoveAll(d.work) })
	return nil
}

func (d *demo) buildBinaries(ctx context.Context) error {
	started := time.Now()
	if _, err := build.Sidecar(ctx, d.work); err != nil {
		return err
	}
	var err error
	if d.program, err = d.app.prepare(ctx, d.work, d.options.dsn); err != nil {
		return fmt.Errorf("-app %s: %w", d.app.name, err)
	}
	d.step(started, "build", "secret-sync and the app in %s", d.app.name)
	return nil
}

func (d *demo) startCluster(ctx context.Context) error {
	started := time.Now()
	if d.options.kubeconfig != "" {
		var err error
		if d.cluster, err = controlplane.OpenCluster(d.options.kubeconfig, d.work); err != nil {
			return err
		}
	} else {
		cp, err := controlplane.Start(ctx, controlplane.Options{Progress: os.Stdout})
		if err != nil {
			return err
		}
		d.onCleanUp(cp.Close)
		d.cluster = cp.Cluster
	}
	v, err := d.cluster.Client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	d.step(started, "API server", "%s, %s", v.GitVersion, d.cluster.Config.Host)
	return nil
}

func (d *demo) startDatabase(ctx context.Context) error {
	started := time.Now()
	url, suffix, kind := d.options.dsn, "", "embedded, in memory, MySQL protocol"
	if url == "" {
		log := &lineLog{line: d.show("database")}
		p, embedded, err := mysqlserver.StartSelf(log)
		if err != nil {
			return err
		}
		d.onCleanUp(func() error { p.Kill(); return nil })
		url = embedded
	} else {
		suffix, kind = "_"+strings.ToLower(rand.Text()[:4]), "given by -dsn"
	}
	var err error
	if d.database, err = accounts.Open(ctx, url, suffix); d.database != nil {
		d.onCleanUp(d.database.Close)
	}
	if err != nil {
		return fmt.Errorf("set up the database: %w", err)
	}
	d.step(started, "database", "%s: users %s and %s, alternately", kind, d.database.Users[0], d.database.Users[1])
	return nil
}

// makeNamespace creates the namespace, the first user and the Secret.
func (d *demo) makeNamespace(ctx context.Context) error {
	started := time.Now()
	namespaces := d.cluster.Client.CoreV1().Namespaces()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "secret-sync-quickstart-"}}
	ns, err := namespaces.Create(ctx, ns, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a namespace: %w", err)
	}
	d.namespace = ns.Name
	d.onCleanUp(func() error {
		return namespaces.Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	first := pool.Credentials{Username: d.database.Users[0], Password: rand.Text()}
	if err := d.database.CreateUser(ctx, first); err != nil {
		return err
	}
	if err := d.putSecret(ctx, first); err != nil {
		return err
	}
	d.current = first
	d.step(started, "namespace", "%s with the Secret %q", ns.Name, secretName)
	return nil
}

// binary returns the path of the secret-sync binary.
func (d *demo) binary() string { return filepath.Join(d.work, "secret-sync") }

// grantAccounts grants the output of `secret-sync rbac`, and no other permissions: to
// the sidecars' service account for their environment, and to the waiter for
// `secret-sync wait`.
func (d *demo) grantAccounts(ctx context.Context) (err error) {
	if d.waitAs, err = d.cluster.TokenKubeconfig(ctx, d.namespace, waiter); err != nil {
		return err
	}
	env := []string{"POD_NAMESPACE=" + d.namespace, "SECRETSYNC_SECRETS=" + secretName}
	if err := d.grant(ctx, env, "rbac", account); err != nil {
		return err
	}
	return d.grant(ctx, nil, "rbac", "--wait", waiter, "--secret", secretName, "-n", d.namespace)
}

// grant runs `secret-sync rbac` and applies its output.
func (d *demo) grant(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, d.binary(), args...)
	cmd.Env = env
	manifest, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return fmt.Errorf("secret-sync rbac: %w", err)
	}
	return controlplane.Apply(ctx, d.cluster.Config, d.namespace, manifest, false)
}
