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
	"github.com/secret-sync/secret-sync/examples/internal/build"
	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
	"github.com/secret-sync/secret-sync/examples/internal/controlplane"
)

const (
	secretName = "db"
	account    = "quickstart"
	// minAge is the default of SECRETSYNC_PROCESS_MIN_AGE, which is left as it is.
	minAge = 5 * time.Second
)

// demo is everything that runs, in the order in which it is started.
type demo struct {
	options options
	undo    []func() error // what cleanUp does, last first

	work      string // binaries and kubeconfigs
	dir       string // the volume
	cluster   *controlplane.Cluster
	namespace string
	database  *database
	current   pool.Credentials // what the Secret holds

	sidecar, app       *childprocess.Process
	sidecarLog, appLog childprocess.Log
	appStarted         time.Time
	appURL, sidecarURL string
	observer           *observer
	load               *load
	rotations          []rotation
}

func (d *demo) setUp(ctx context.Context) error {
	steps := []func(context.Context) error{
		d.makeFolders, d.buildBinaries, d.startCluster, d.startDatabase,
		d.makeNamespace, d.startSidecar, d.startApp, d.startLoad,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cleanUp ends and removes all that was started, as far as it came.
func (d *demo) cleanUp() error {
	var errs error
	for _, f := range slices.Backward(d.undo) {
		errs = errors.Join(errs, f())
	}
	return errs
}

func (d *demo) later(f func() error) { d.undo = append(d.undo, f) }

// makeFolders prefers a memory file system for the volume, as in a Pod.
func (d *demo) makeFolders(context.Context) error {
	var err error
	if d.work, err = os.MkdirTemp("", "secret-sync-quickstart-"); err != nil {
		return err
	}
	d.later(func() error { return os.RemoveAll(d.work) })
	if d.dir, err = os.MkdirTemp("/dev/shm", "secret-sync-quickstart-"); err != nil {
		d.dir, err = os.MkdirTemp("", "secret-sync-quickstart-volume-")
	}
	d.later(func() error { return os.RemoveAll(d.dir) })
	return err
}

func (d *demo) buildBinaries(ctx context.Context) error {
	started := time.Now()
	if _, err := build.Sidecar(ctx, d.work); err != nil {
		return err
	}
	if err := build.App(ctx, filepath.Join(d.work, d.appName())); err != nil {
		return err
	}
	d.step(started, "build", "secret-sync and the app")
	return nil
}

// appName is what the sidecar looks for among the processes, so it must be one
// that no second quickstart has; the kernel keeps 15 characters of it.
func (d *demo) appName() string { return fmt.Sprintf("app-%d", os.Getpid()) }

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
		d.later(cp.Close)
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
	url, suffix, what := d.options.dsn, "", "embedded, in memory, MySQL protocol"
	if url == "" {
		log := &childprocess.Log{Line: d.show("database")}
		p, embedded, err := startDatabase(log)
		if err != nil {
			return err
		}
		d.later(func() error { p.Kill(); return nil })
		url = embedded
	} else {
		suffix, what = "_"+strings.ToLower(rand.Text()[:4]), "the one given"
	}
	var err error
	if d.database, err = openDatabase(ctx, url, suffix); d.database != nil {
		d.later(d.database.close)
	}
	if err != nil {
		return fmt.Errorf("set up the database: %w", err)
	}
	d.step(started, "database", "%s: users %s and %s", what, d.database.users[0], d.database.users[1])
	return nil
}

// makeNamespace makes the namespace and the Secret, with the first user in it.
func (d *demo) makeNamespace(ctx context.Context) error {
	started := time.Now()
	namespaces := d.cluster.Client.CoreV1().Namespaces()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "secret-sync-quickstart-"}}
	ns, err := namespaces.Create(ctx, ns, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a namespace: %w", err)
	}
	d.namespace = ns.Name
	d.later(func() error {
		return namespaces.Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	first := pool.Credentials{Username: d.database.users[0], Password: rand.Text()}
	if err := d.database.setPassword(ctx, first.Username, first.Password); err != nil {
		return err
	}
	if err := d.putSecret(ctx, first); err != nil {
		return err
	}
	d.current = first
	d.step(started, "namespace", "%s with the Secret %q", ns.Name, secretName)
	return nil
}

// startSidecar runs secret-sync as a service account that may do what the
// sidecar itself says it needs, and no more.
func (d *demo) startSidecar(ctx context.Context) error {
	started := time.Now()
	kubeconfig, err := d.cluster.TokenKubeconfig(ctx, d.namespace, account)
	if err != nil {
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	d.sidecarURL = "http://" + addr
	binary := filepath.Join(d.work, "secret-sync")
	env := []string{
		"KUBECONFIG=" + kubeconfig,
		"POD_NAMESPACE=" + d.namespace,
		"SECRETSYNC_SECRETS=" + secretName,
		"SECRETSYNC_DIR=" + d.dir,
		"SECRETSYNC_PROCESS=" + d.appName(),
		"SECRETSYNC_HTTP_ADDR=" + addr,
	}
	if err := d.grant(ctx, binary, env); err != nil {
		return err
	}
	if d.observer, err = newObserver(d.dir); err != nil {
		return err
	}
	d.sidecarLog.Line = d.show("sidecar")
	cmd := exec.Command(binary)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &d.sidecarLog, &d.sidecarLog
	if d.sidecar, err = childprocess.Start(cmd); err != nil {
		return err
	}
	d.later(d.stopSidecar)
	if err := d.waitUntilReady(ctx, binary, env); err != nil {
		return err
	}
	d.step(started, "sidecar", "pid %d, files in %s/%s", d.sidecar.PID(), d.dir, secretName)
	return nil
}

// stopSidecar ends it as the kubelet does, and minds how it ended.
func (d *demo) stopSidecar() error {
	if d.sidecar.Stop(5*time.Second) && d.sidecar.ExitCode() != 0 {
		return fmt.Errorf("the sidecar ended: %s", d.sidecar.State())
	}
	return nil
}

// grant applies what `secret-sync rbac` prints.
func (d *demo) grant(ctx context.Context, binary string, env []string) error {
	cmd := exec.CommandContext(ctx, binary, "rbac", account)
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

// waitUntilReady does what the startup probe of the Pod does.
func (d *demo) waitUntilReady(ctx context.Context, binary string, env []string) error {
	timeout := time.After(30 * time.Second)
	for {
		cmd := exec.CommandContext(ctx, binary, "ready")
		cmd.Env = env
		if cmd.Run() == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-timeout:
			return fmt.Errorf("the sidecar is not ready within 30 s%s", d.lastWords())
		case <-d.sidecar.Done():
			return fmt.Errorf("the sidecar ended: %s%s", d.sidecar.State(), d.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
