// Package rollout has tests only: `secret-sync status` and `secret-sync wait`
// against a real API server and real sidecars. Pods are objects with addresses of
// the loopback range, and the sidecars are processes listening there.
package rollout

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const labels = "app=shop"

// addresses counts the used addresses of the loopback range.
var addresses atomic.Int64

func newAddress() string {
	n := addresses.Add(1)
	return fmt.Sprintf("127.1.%d.%d", n/250, n%250+1)
}

// newScene creates a Secret db and an account "waiter" with the permissions from
// `secret-sync rbac --wait`.
func newScene(t *testing.T) (s *st.Scene, kubeconfig string) {
	s = st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "tls"})
	s.SetSecret("db", map[string]string{"password": "0"})
	kubeconfig, err := st.ControlPlane().TokenKubeconfig(t.Context(), s.Namespace, "waiter")
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(s.Print("rbac", "--wait", "waiter", "--secret", "db", "-n", s.Namespace))
	return s, kubeconfig
}

func pods(s *st.Scene) v1.PodInterface {
	return st.ControlPlane().Client.CoreV1().Pods(s.Namespace)
}

// newPod creates a Pod object with sidecars and an app, all of which run as far as the API
// server knows. Changes apply before it is created.
func newPod(t testing.TB, s *st.Scene, name, address string, sidecars []corev1.Container,
	changes ...func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "shop"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: st.Account, AutomountServiceAccountToken: new(false), NodeName: "node",
			Containers: []corev1.Container{{Name: "app", Image: "app"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address},
	}
	if address != "" {
		pod.Status.PodIPs = []corev1.PodIP{{IP: address}}
	}
	for _, c := range sidecars {
		c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, running(c.Name))
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{running("app")}
	for _, change := range changes {
		change(pod)
	}
	status := pod.Status
	pod, err := pods(s).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return setStatus(t, s, pod, func(pod *corev1.Pod) { pod.Status = status })
}

// setStatus changes the status of a Pod, as the kubelet does.
func setStatus(t testing.TB, s *st.Scene, pod *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	change(pod)
	pod, err := pods(s).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func running(container string) corev1.ContainerStatus {
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	return corev1.ContainerStatus{Name: container, State: state}
}

func waitingStatus(container string) corev1.ContainerStatus {
	state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
	return corev1.ContainerStatus{Name: container, State: state}
}

// remove deletes a Pod at once.
func remove(t testing.TB, s *st.Scene, name string) {
	t.Helper()
	now := int64(0)
	if err := pods(s).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
}

var (
	sidecarContainer = corev1.Container{Name: "secret-sync", Image: "secret-sync:1"}
	oneSidecar       = []corev1.Container{sidecarContainer}
)

// replica is a Pod object with a sidecar process and an app.
type replica struct {
	name, dir string
	env       st.Env
	run       *st.Run
	app       *st.Webhook
}

// newReplica starts a replica, and waits until its files are in place.
func newReplica(t testing.TB, s *st.Scene, name string, more st.Env) *replica {
	t.Helper()
	address := newAddress()
	pod := newPod(t, s, name, address, oneSidecar)
	return startReplica(t, s, pod, address+":29808", more)
}

// startReplica starts the sidecar of a Pod, and waits until its files are in place.
func startReplica(t testing.TB, s *st.Scene, pod *corev1.Pod, address string, more st.Env) *replica {
	t.Helper()
	r := &replica{name: pod.Name, dir: testsupport.MemoryDir(t), app: st.NewWebhook(t)}
	r.env = st.Env{
		"SECRETSYNC_DIR": r.dir, "SECRETSYNC_HTTP_ADDR": address, "SECRETSYNC_WEBHOOK_URL": r.app.URL,
		"POD_NAME": pod.Name, "POD_UID": string(pod.UID),
	}
	maps.Copy(r.env, more)
	r.run = s.Start(r.env)
	testsupport.Eventually(t, "the files of "+r.name, func() error {
		if _, err := os.Stat(filepath.Join(r.dir, "db", "password")); err != nil {
			return err
		}
		return nil
	})
	return r
}

// wait waits until a password is in the replica's files.
func (r *replica) wait(t testing.TB, password string) {
	t.Helper()
	testsupport.Eventually(t, "the files of "+r.name, func() error {
		if got := r.password(); got != password {
			return fmt.Errorf("the password is %q, want %q", got, password)
		}
		return nil
	})
}

func (r *replica) password() string {
	password, _ := os.ReadFile(filepath.Join(r.dir, "db", "password"))
	return string(password)
}

// allUsers is an argument of startWait: it omits the selector.
const allUsers = "without --selector"

// waiting is a running `secret-sync wait`.
type waiting struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, err *testsupport.Log
	ended    chan error
}

func startWait(t testing.TB, s *st.Scene, kubeconfig string, args ...string) *waiting {
	t.Helper()
	args = append([]string{"wait", "--secret", "db", "-n", s.Namespace}, args...)
	if !slices.Contains(args, allUsers) {
		args = append(args, "--selector", labels)
	}
	args = slices.DeleteFunc(args, func(arg string) bool { return arg == allUsers })
	cmd := exec.Command(st.Binary(), args...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig}
	w := &waiting{t: t}
	w.start(cmd)
	return w
}

// exits checks its exit code, and searches its output for all of these texts. On a busy machine, a short timeout may
// end before `wait` has asked every sidecar. Then it runs again with twice the timeout.
func (w *waiting) exits(code int, texts ...string) {
	w.t.Helper()
	got := w.end()
	for got == code && w.lacks(texts) != "" && w.doubleTimeout() {
		got = w.end()
	}
	if got != code {
		w.t.Fatalf("got exit code %d, want %d:\n%s", got, code, w.output())
	}
	if text := w.lacks(texts); text != "" {
		w.t.Errorf("lacks %q:\n%s", text, w.output())
	}
}

func (w *waiting) output() string { return w.out.String() + w.err.String() }

// lacks returns the first text that the output does not contain, or "".
func (w *waiting) lacks(texts []string) string {
	for _, text := range texts {
		if !strings.Contains(w.output(), text) {
			return text
		}
	}
	return ""
}

// end waits for the end, and returns the exit code.
func (w *waiting) end() int {
	w.t.Helper()
	var err error
	select {
	case err = <-w.ended:
	case <-time.After(60 * time.Second):
		w.t.Fatalf("wait does not end:\n%s", w.output())
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// doubleTimeout starts it again if its timeout has ended, and the timeout is below testsupport.Patience.
func (w *waiting) doubleTimeout() bool {
	w.t.Helper()
	args := slices.Clone(w.cmd.Args[1:])
	i := 1 + slices.Index(args, "--timeout")
	if i == 0 || !strings.Contains(w.output(), "the timeout ended") {
		return false
	}
	timeout, err := time.ParseDuration(args[i])
	if err != nil || timeout > testsupport.Patience {
		return false
	}
	args[i] = (2 * timeout).String()
	cmd := exec.Command(w.cmd.Path, args...)
	cmd.Env = w.cmd.Env
	w.start(cmd)
	return true
}

// start starts a command, with an output of its own unless the command writes to a terminal.
func (w *waiting) start(cmd *exec.Cmd) {
	w.t.Helper()
	w.cmd, w.out, w.err, w.ended = cmd, &testsupport.Log{}, &testsupport.Log{}, make(chan error, 1)
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = w.out, w.err
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := w.ended
	go func() { ended <- cmd.Wait() }()
	w.t.Cleanup(func() { _ = cmd.Process.Kill() })
}

// until waits until it has printed the text.
func (w *waiting) until(text string) {
	w.t.Helper()
	testsupport.Eventually(w.t, "wait prints "+text, func() error {
		if all := w.err.String(); !strings.Contains(all, text) {
			return errors.New(all)
		}
		return nil
	})
}

// running checks whether it still runs after a while.
func (w *waiting) running(window time.Duration) {
	w.t.Helper()
	select {
	case err := <-w.ended:
		w.t.Fatalf("wait ended too early, %v:\n%s%s", err, w.out.String(), w.err.String())
	case <-time.After(window):
	}
}
