package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/examples/quickstart/internal/observe"
	"github.com/secret-sync/secret-sync/examples/quickstart/internal/queries"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// sidecarPort is the port for the queries of `secret-sync wait`.
const sidecarPort = "29808"

// A replica stands for a Pod. It is a Pod object with a loopback address, and a process
// for each container of the Pod.
type replica struct {
	name, address string
	dir           string // directory of the volume
	kubeconfig    string
	pod           *corev1.Pod
	appURL        string

	sidecar, app       *childprocess.Process
	sidecarLog, appLog lineLog
	observer           *observe.Observer
	load               *queries.Load
}

func (d *demo) startReplicas(ctx context.Context) error {
	started := time.Now()
	kubeconfig, err := d.cluster.TokenKubeconfig(ctx, d.namespace, account)
	if err != nil {
		return err
	}
	if err := d.makeNode(ctx); err != nil {
		return err
	}
	for i := range replicas {
		// The PID in the address separates simultaneous quickstarts.
		address := fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()>>8&0x7f, os.Getpid()&0xff, i+1)
		r := &replica{name: fmt.Sprintf("app-%d", i+1), address: address, kubeconfig: kubeconfig}
		d.replicas = append(d.replicas, r)
		for _, step := range []func(context.Context, *replica) error{
			d.makePod, d.makeVolume, d.startSidecar, d.startApp, d.reportPod,
		} {
			if err := step(ctx, r); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
		r.load = queries.Start(r.appURL+"/query", d.options.workers)
		d.onCleanUp(func() error { r.load.Stop(); return nil })
	}
	d.step(started, "replicas", "%d of sidecar and app, with %d clients each", replicas, d.options.workers)
	return nil
}

// makeNode creates a node for the Pods. Without it, a real cluster would remove the Pods.
func (d *demo) makeNode(ctx context.Context) error {
	nodes := d.cluster.Client.CoreV1().Nodes()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "secret-sync-quickstart-"}}
	node.Spec.Unschedulable = true
	node, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a node: %w", err)
	}
	d.node = node.Name
	d.onCleanUp(func() error { return nodes.Delete(context.Background(), node.Name, metav1.DeleteOptions{}) })
	return nil
}

// makeVolume creates the volume, on a memory file system if possible, as in a Pod.
func (d *demo) makeVolume(_ context.Context, r *replica) (err error) {
	if r.dir, err = os.MkdirTemp("/dev/shm", "secret-sync-quickstart-"); err != nil {
		r.dir, err = os.MkdirTemp("", "secret-sync-quickstart-volume-")
	}
	d.onCleanUp(func() error { return os.RemoveAll(r.dir) })
	return err
}

// startSidecar runs secret-sync with the service account of grantAccounts.
func (d *demo) startSidecar(ctx context.Context, r *replica) (err error) {
	addr, err := freeAddr(r.address)
	if err != nil {
		return err
	}
	r.appURL = "http://" + addr
	env := append(d.notification(r),
		"KUBECONFIG="+r.kubeconfig,
		"POD_NAMESPACE="+d.namespace,
		"POD_NAME="+r.name,
		"POD_UID="+string(r.pod.UID),
		"SECRETSYNC_SECRETS="+secretName,
		"SECRETSYNC_DIR="+r.dir,
		"SECRETSYNC_HTTP_ADDR="+r.address+":"+sidecarPort,
	)
	if r.observer, err = observe.New(r.dir); err != nil {
		return err
	}
	show := d.show(r.name + " sidecar")
	r.sidecarLog.line = func(line string) {
		if d.app.signal != "" { // with a webhook, the app logs the notification
			r.observer.SidecarLine(line)
		}
		show(line)
	}
	cmd := exec.Command(d.binary())
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &r.sidecarLog, &r.sidecarLog
	if r.sidecar, err = childprocess.Start(cmd); err != nil {
		return err
	}
	d.onCleanUp(r.stopSidecar)
	return d.waitUntilReady(ctx, r, env)
}

// stopSidecar stops the sidecar as the kubelet does and checks its exit code.
func (r *replica) stopSidecar() error {
	if r.sidecar.Stop(5*time.Second) && r.sidecar.ExitCode() != 0 {
		return fmt.Errorf("the sidecar of %s ended: %s", r.name, r.sidecar.State())
	}
	return nil
}

// waitUntilReady runs `secret-sync ready`, like the startup probe of a Pod, until it succeeds.
func (d *demo) waitUntilReady(ctx context.Context, r *replica, env []string) error {
	return r.until(ctx, 30*time.Second, func() error {
		cmd := exec.CommandContext(ctx, d.binary(), "ready")
		cmd.Env = env
		if cmd.Run() != nil {
			return errors.New("the sidecar is not ready")
		}
		return nil
	})
}

func (d *demo) startApp(ctx context.Context, r *replica) (err error) {
	cmd := d.program(r.appURL[len("http://"):])
	cmd.Env = d.appEnv(r)
	show := d.show(r.name)
	r.appLog.line = func(line string) { r.observer.AppLine(line); show(line) }
	cmd.Stdout, cmd.Stderr = &r.appLog, &r.appLog
	if r.app, err = childprocess.Start(cmd); err != nil {
		return err
	}
	d.onCleanUp(func() error { r.app.Stop(15 * time.Second); return nil })
	if err := os.WriteFile(d.pidFile(r), fmt.Append(nil, r.app.PID()), 0o644); err != nil {
		return err
	}
	return r.until(ctx, 30*time.Second, func() error { return queries.Query(http.DefaultClient, r.appURL+"/query") })
}

// makePod creates the Pod object with which `secret-sync wait` finds the sidecar. The Pod is
// bound to the node of makeNode, which has no kubelet.
func (d *demo) makePod(ctx context.Context, r *replica) (err error) {
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: r.name, Labels: map[string]string{"app": "quickstart"}},
		Spec: corev1.PodSpec{
			NodeName: d.node, ServiceAccountName: account, AutomountServiceAccountToken: &no,
			Containers:  []corev1.Container{{Name: "app", Image: "app"}, {Name: "secret-sync", Image: "secret-sync"}},
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		},
	}
	r.pod, err = d.cluster.Client.CoreV1().Pods(d.namespace).Create(ctx, pod, metav1.CreateOptions{})
	return err
}

// reportPod reports the start of the containers, as a kubelet does.
func (d *demo) reportPod(ctx context.Context, r *replica) (err error) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	r.pod.Status.Phase = corev1.PodRunning
	r.pod.Status.PodIP, r.pod.Status.PodIPs = r.address, []corev1.PodIP{{IP: r.address}}
	r.pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "app", State: running}, {Name: "secret-sync", State: running},
	}
	r.pod, err = d.cluster.Client.CoreV1().Pods(d.namespace).UpdateStatus(ctx, r.pod, metav1.UpdateOptions{})
	return err
}

// until calls f until it returns nil. It fails after the limit, or if a process of the
// replica ends.
func (r *replica) until(ctx context.Context, limit time.Duration, f func() error) error {
	timeout := time.After(limit)
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-timeout:
			return fmt.Errorf("%w within %s%s", err, limit, r.lastLines())
		case <-r.sidecar.Done():
			return r.ended("sidecar", r.sidecar)
		case <-r.appDone():
			return r.ended("app", r.app)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// appDone returns the channel of the app's end, or nil before its start.
func (r *replica) appDone() <-chan struct{} {
	if r.app == nil {
		return nil
	}
	return r.app.Done()
}

func (r *replica) ended(name string, p *childprocess.Process) error {
	return fmt.Errorf("the %s of %s ended: %s%s", name, r.name, p.State(), r.lastLines())
}

// lastLines returns the ends of the logs, for an error message.
func (r *replica) lastLines() string {
	return fmt.Sprintf("\nthe sidecar's last lines:\n%s\nthe app's last lines:\n%s",
		r.sidecarLog.Tail(8), r.appLog.Tail(8))
}
