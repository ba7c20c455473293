package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestRun_withTheRealWait runs the job with the real `secret-sync wait`, a real sidecar, and
// the permissions in base/rbac.yaml. The webhook of the app reads the Secret and closes the
// old session.
func TestRun_withTheRealWait(t *testing.T) {
	s := newScene(t, embedded(t))
	session := s.open()
	reloaded := make(chan struct{}, 10)
	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.app = s.inSecret()
		session.Close()
		reloaded <- struct{}{}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(webhook.Close)
	s.startPod(webhook.URL)

	manifest, err := os.ReadFile("base/rbac.yaml")
	mustDo(t, err)
	s.Apply(manifest)
	kubeconfig, err := st.ControlPlane().TokenKubeconfig(t.Context(), s.Namespace, "rotation")
	mustDo(t, err)
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv("ROTATE_SECRET_SYNC", st.Binary())
	a := s.newRun()
	a.secrets, err = secretsClient(s.Namespace)
	mustDo(t, err)
	a.rotation.wait = waitCommand("db", []string{"-n", s.Namespace, "--direct", "--timeout", "1m"})
	mustDo(t, a.run(t.Context()))
	<-reloaded
	s.check("after the run")
	if got := s.existing(); !slices.Equal(got, []string{"app_b"}) || s.app.Username != "app_b" {
		t.Errorf("users %q exist and the app uses %s, want app_b", got, s.app)
	}
}

// startPod creates a Pod object and starts its sidecar.
func (s *scene) startPod(webhook string) {
	s.t.Helper()
	// The PID separates simultaneous tests. wait queries port 29808 of the address.
	address := fmt.Sprintf("127.%d.%d.9", 1+os.Getpid()>>8&0x7f, os.Getpid()&0xff)
	pods := st.ControlPlane().Client.CoreV1().Pods(s.Namespace)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "app"}, Spec: corev1.PodSpec{
		NodeName: "node", AutomountServiceAccountToken: new(false), ServiceAccountName: st.Account,
		Containers: []corev1.Container{{Name: "app", Image: "app"}, {Name: "secret-sync", Image: "secret-sync"}},
	}}
	pod, err := pods.Create(s.t.Context(), pod, metav1.CreateOptions{})
	mustDo(s.t, err)

	env := st.Env{"SECRETSYNC_SECRETS": "db"}
	s.Apply(s.PrintWith(env, "rbac", st.Account))
	env["POD_NAME"], env["POD_UID"] = pod.Name, string(pod.UID)
	env["SECRETSYNC_WEBHOOK_URL"], env["SECRETSYNC_HTTP_ADDR"] = webhook, address+":29808"
	s.Start(env).WaitReady()

	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: running}, {Name: "secret-sync", State: running}},
	}
	_, err = pods.UpdateStatus(s.t.Context(), pod, metav1.UpdateOptions{})
	mustDo(s.t, err)
}
