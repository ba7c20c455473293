package rotate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// withTheRealWait returns a run that waits with the real `secret-sync wait`.
func (s *scene) withTheRealWait(flags ...string) *run {
	s.t.Helper()
	args := append([]string{"--", "-n", s.Namespace, "--direct", "--timeout", "1m"}, flags...)
	return s.newRun(st.Env{"ROTATE_SECRET_SYNC": st.Binary()}, args...)
}

// TestRun_withTheRealWait runs the job with the real `secret-sync wait` and a real sidecar. The webhook of the app
// reads the Secret and closes the old session.
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
	r := s.withTheRealWait()
	r.start()
	mustDo(t, r.result())
	<-reloaded
	s.check("after the run")
	s.wantUsers("after the run", "app_b")
	if s.app.Username != "app_b" {
		t.Errorf("the app uses %s, want app_b", s.app)
	}
}

// waitMemory is the most that `secret-sync wait` needs, for 5,000 Pods.
const waitMemory = 40 << 10 // KiB

// TestRun_memory: the peaks of the job and of its wait must fit into the memory limit of the CronJob.
func TestRun_memory(t *testing.T) {
	s := newScene(t, embedded(t))
	webhook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(webhook.Close)
	s.startPod(webhook.URL)
	r := s.withTheRealWait("--start-grace", "1s")
	r.start()
	peaks := map[string]int{}
	for done := false; !done; {
		select {
		case <-r.Done():
			mustDo(t, r.result())
			done = true
		case <-time.After(2 * time.Millisecond):
			for name, peak := range peakMemory(r.PID()) {
				peaks[name] = max(peaks[name], peak)
			}
		}
	}
	manifest := st.Read(t, example+"base/cronjob.yaml")
	limit, err := strconv.Atoi(regexp.MustCompile(`limits: \{memory: (\d+)Mi\}`).FindStringSubmatch(manifest)[1])
	mustDo(t, err)
	t.Logf("the peaks are %d KiB for the job and %d KiB for wait, the limit is %d MiB", peaks["rotate"],
		peaks["secret-sync"], limit)
	if peaks["rotate"] == 0 || peaks["secret-sync"] == 0 || peaks["secret-sync"] > waitMemory {
		t.Errorf("got the peaks %v KiB, want both processes, and at most 40 MiB for wait", peaks)
	}
	if need := peaks["rotate"] + waitMemory; need > limit<<10 {
		t.Errorf("the job needs %d KiB, the limit of the CronJob is %d MiB", need, limit)
	}
}

// peakMemory returns the peaks of the resident memory of a process and of its children in KiB,
// by the name of the program.
func peakMemory(pid int) map[string]int {
	peaks := map[string]int{}
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	pids := []string{strconv.Itoa(pid)}
	for _, path := range children {
		text, _ := os.ReadFile(path)
		pids = append(pids, strings.Fields(string(text))...)
	}
	line := regexp.MustCompile(`Name:\s+(\S+)(?s:.*)VmHWM:\s+(\d+) kB`)
	for _, pid := range pids {
		text, _ := os.ReadFile("/proc/" + pid + "/status")
		if match := line.FindSubmatch(text); match != nil {
			peaks[string(match[1])], _ = strconv.Atoi(string(match[2]))
		}
	}
	return peaks
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
		ContainerStatuses: []corev1.ContainerStatus{
			{Name: "app", State: running}, {Name: "secret-sync", State: running},
		},
	}
	_, err = pods.UpdateStatus(s.t.Context(), pod, metav1.UpdateOptions{})
	mustDo(s.t, err)
}
