package rollout

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestWait_throughProxy: the API server asks the Pods on the port of their container,
// and the account needs no more than `rbac --wait` prints. `wait` watches the Pods, so
// a long wait costs no further list.
func TestWait_throughProxy(t *testing.T) {
	s, kubeconfig := newScene(t) // not in parallel: it counts requests
	app, slow := newProxied(t, s, "app", 29808), newProxied(t, s, "slow", 29900)
	startWait(t, s, kubeconfig).exits(0, "all 2 Pods")

	slow.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	app.wait(t, "1")
	slow.wait(t, "1")
	before := podLists(t)
	wait := startWait(t, s, kubeconfig)
	wait.running(2 * time.Second)
	slow.app.Status.Store(http.StatusOK)
	wait.exits(0, "all 2 Pods")
	if lists := podLists(t) - before; lists != 2 {
		t.Errorf("the Pods were listed %d times, want 2: at the start and for the yes", lists)
	}
	if n := len(slow.app.Accepted()); n != 1 {
		t.Errorf("the slow app was notified %d times before the yes, want once", n)
	}

	slow.run.Kill()
	s.SetSecret("db", map[string]string{"password": "2"})
	app.wait(t, "2")
	startWait(t, s, kubeconfig, "--timeout", "1s").exits(1, "Pod slow: its sidecar does not answer")
}

// newProxied is newReplica at an address accepted by the Pod proxy.
func newProxied(t testing.TB, s *st.Scene, name string, port int) *replica {
	t.Helper()
	address := fmt.Sprintf("192.0.2.%d", addresses.Add(1)%250+1)
	container := sidecarContainer
	container.Ports = []corev1.ContainerPort{{Name: "secret-sync", ContainerPort: int32(port)}}
	pod := newPod(t, s, name, address, []corev1.Container{container})
	return startReplica(t, s, pod, fmt.Sprintf("%s:%d", address, port), nil)
}

var podListsLine = regexp.MustCompile(`(?m)^apiserver_request_total\{.*resource="pods".*subresource="",` +
	`verb="LIST".*\} (\d+)$`)

// podLists is how many lists of Pods the API server has answered.
func podLists(t testing.TB) (n int) {
	t.Helper()
	metrics, err := st.ControlPlane().Client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range podListsLine.FindAllSubmatch(metrics, -1) {
		lists, _ := strconv.Atoi(string(match[1]))
		n += lists
	}
	return n
}
