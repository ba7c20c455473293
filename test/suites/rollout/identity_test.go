package rollout

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestWaitIdentity_sharedAddress: two Pods share an address, and the sidecar of the first
// answers for both.
func TestWaitIdentity_sharedAddress(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	address := newAddress()
	first := newPod(t, s, "first", address, oneSidecar)
	startReplica(t, s, first, address+":29808", nil)
	newPod(t, s, "second", address, oneSidecar)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").exits(1,
		"Pod second: another Pod answers at its address: "+s.Namespace+"/first")
	remove(t, s, "second")

	elsewhere := newPod(t, s, "elsewhere", newAddress(), oneSidecar)
	other, _ := newScene(t)
	startReplica(t, other, elsewhere, elsewhere.Status.PodIP+":29808", nil)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").exits(1,
		"Pod elsewhere: another Pod answers at its address: "+other.Namespace+"/elsewhere")
	remove(t, s, "elsewhere")

	unnamed := newPod(t, s, "unnamed", newAddress(), oneSidecar)
	startReplica(t, s, unnamed, unnamed.Status.PodIP+":29808", st.Env{"POD_UID": ""})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").
		exits(1, "Pod unnamed: its sidecar does not know its Pod")
}

// TestWaitIdentity_twoSidecars: `wait` asks both sidecars of a Pod, and names the container
// that does not answer itself.
func TestWaitIdentity_twoSidecars(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	second := corev1.Container{Name: "second", Image: "secret-sync:1"}
	second.Ports = []corev1.ContainerPort{{Name: "secret-sync", ContainerPort: 29809}}
	address := newAddress()
	pod := newPod(t, s, "app", address, []corev1.Container{sidecarContainer, second})
	startReplica(t, s, pod, address+":29808", nil)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").exits(1, "container second: its sidecar does not answer")

	other := startReplica(t, s, pod, address+":29809", nil)
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	other.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "2s").exits(1, "container second: webhook is not notified")
	remove(t, s, "app")

	second.Ports = nil // both use the default port
	address = newAddress()
	pod = newPod(t, s, "same-port", address, []corev1.Container{sidecarContainer, second})
	startReplica(t, s, pod, address+":29808", nil)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "2s").exits(1, "answers in its place")
}

// TestStatus_sharedNetwork: the status of another container in the same network is not
// printed as the own one.
func TestStatus_sharedNetwork(t *testing.T) {
	t.Parallel()
	s, _ := newScene(t)
	r := newReplica(t, s, "app", nil)
	testsupport.Eventually(t, "the status of the sidecar, from its server", func() error {
		if own := s.PrintWith(r.env, "status"); !strings.Contains(string(own), `"instance": "`+first(r).Instance) {
			return fmt.Errorf("got %s", own)
		}
		return nil
	})
	empty := s.Start(st.Env{"SECRETSYNC_DIR": testsupport.MemoryDir(t),
		"SECRETSYNC_HTTP_ADDR": r.env["SECRETSYNC_HTTP_ADDR"]},
		"status")
	empty.WaitExit(1, 5*time.Second)
	empty.WaitLog("belongs to the sidecar of another volume")
}

// first returns the document of the replica's server.
func first(r *replica) document {
	d, _ := r.status()
	return d
}
