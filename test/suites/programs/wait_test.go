//go:build programs

package programs

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestWait_withdrawn: slapd and Puma end after HUP, although they handle it. `wait` starts before
// the sidecar withdraws its success, and must not count the target as notified.
func TestWait_withdrawn(t *testing.T) {
	for _, p := range programs {
		for _, w := range p.ways {
			if w.want == ends && (w.env["PROCESS"] == "slapd" || w.env["PROCESS"] == "puma") {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					tr := newTrial(t, p, w)
					for n := int64(2); !tr.waitFails(n); n++ {
					}
				})
			}
		}
	}
}

// waitFails rotates and runs `wait`. It returns false if the program ended too late for the sidecar.
func (tr *trial) waitFails(n int64) bool {
	tr.T.Helper()
	tr.waitUsed(n - 1) // it has started again
	ends := tr.ended.Load()
	tr.rotate(n)
	tr.waitNotified(int(n) - 1)
	out, err := tr.wait()
	var exit *exec.ExitError
	const want = "process is not notified yet: ended"
	if errors.As(err, &exit) && exit.ExitCode() == 1 && strings.Contains(out, want) {
		return true
	}
	lived := tr.lived(ends)
	if lived < survival {
		tr.T.Fatalf("the program ended %v after its notification; wait: %v\n%s", lived, err, out)
	}
	return tr.slow(lived)
}

// wait runs `secret-sync wait` for 15 s, which includes the default of --signal-grace.
func (tr *trial) wait() (output string, err error) {
	tr.T.Helper()
	kubeconfig, err := st.ControlPlane().TokenKubeconfig(tr.T.Context(), tr.Namespace, "waiter")
	if err != nil {
		tr.T.Fatal(err)
	}
	tr.Apply(tr.Print("rbac", "--wait", "waiter", "--secret", "app", "-n", tr.Namespace))
	cmd := exec.Command(st.Binary(), "wait", "--secret", "app", "-n", tr.Namespace, "--selector", "app=shop",
		"--direct", "--timeout", "15s")
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serveStatus creates the object of the Pod, and makes the sidecar listen on its address.
func (tr *trial) serveStatus() {
	tr.T.Helper()
	address := st.OwnAddr()
	ip, _, _ := strings.Cut(address, ":")
	always := new(corev1.ContainerRestartPolicyAlways)
	sidecar := corev1.Container{Name: "secret-sync", Image: "secret-sync", RestartPolicy: always}
	pods := st.ControlPlane().Client.CoreV1().Pods(tr.Namespace)
	pod, err := pods.Create(tr.T.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Labels: map[string]string{"app": "shop"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: st.Account, AutomountServiceAccountToken: new(false), NodeName: "node",
			InitContainers: []corev1.Container{sidecar}, Containers: []corev1.Container{{Name: "app", Image: "app"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		tr.T.Fatal(err)
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		InitContainerStatuses: []corev1.ContainerStatus{{Name: "secret-sync", State: running}},
		ContainerStatuses:     []corev1.ContainerStatus{{Name: "app", State: running}},
	}
	if pod, err = pods.UpdateStatus(tr.T.Context(), pod, metav1.UpdateOptions{}); err != nil {
		tr.T.Fatal(err)
	}
	tr.Env["SECRETSYNC_HTTP_ADDR"], tr.Env["POD_NAME"], tr.Env["POD_UID"] = address, pod.Name, string(pod.UID)
}
