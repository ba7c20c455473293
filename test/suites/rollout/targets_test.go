package rollout

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// restart kills the sidecar and starts it with changes to its environment, as after a change of the
// Pod's annotations.
func (r *replica) restart(s *st.Scene, changes st.Env) {
	r.run.Kill()
	for name, value := range changes {
		r.env[name] = value
	}
	r.run = s.Start(r.env)
}

func accepted(t testing.TB, w *st.Webhook, want int) {
	t.Helper()
	if got := w.Accepted(); len(got) != want {
		t.Errorf("%s accepted %d notifications, want %d", w.URL, len(got), want)
	}
}

// TestWaitTargets_added: a target is added while the notification of another is pending. It counts
// as notified no earlier than the other.
func TestWaitTargets_added(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	added := st.NewWebhook(t)
	added.Status.Store(http.StatusServiceUnavailable)
	r.restart(s, st.Env{"SECRETSYNC_WEBHOOK_URL": added.URL + "," + r.app.URL})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "2s").exits(1, "Pod app: webhook/1 is not notified yet")
	added.Status.Store(http.StatusOK)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "2s").exits(1, "Pod app: webhook/2 is not notified yet")
	r.app.Status.Store(http.StatusOK)
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	accepted(t, added, 1)
	accepted(t, r.app, 1)
}

// TestWaitTargets_order: the order of the targets changes while a notification is pending. Each
// target keeps its record, and nothing shows the tokens in the URLs.
func TestWaitTargets_order(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	first, second := st.NewWebhook(t), st.NewWebhook(t)
	token := func(w *st.Webhook) string {
		return strings.Replace(w.URL, "http://", "http://user:canary@", 1) + "?token=canary"
	}
	r := newReplica(t, s, "app", st.Env{"SECRETSYNC_WEBHOOK_URL": token(first) + "," + token(second)})
	second.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "3s").exits(1, "Pod app: webhook/2 is not notified yet")
	accepted(t, first, 1)

	r.restart(s, st.Env{"SECRETSYNC_WEBHOOK_URL": token(second) + "," + token(first)})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "3s").exits(1, "Pod app: webhook/1 is not notified yet")
	second.Status.Store(http.StatusOK)
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	accepted(t, first, 1)
	accepted(t, second, 1)
	checkToken(t, r)
}

// checkToken searches the records, the metrics and the status of a sidecar for a token.
func checkToken(t *testing.T, r *replica) {
	t.Helper()
	records, err := os.ReadFile(filepath.Join(r.dir, "..notified.json"))
	if err != nil || !strings.Contains(string(records), "/reload") || strings.Contains(string(records), "canary") {
		t.Errorf("the records are %s, %v", records, err)
	}
	for _, path := range []string{"/status", "/metrics"} {
		answer, err := http.Get("http://" + r.env["SECRETSYNC_HTTP_ADDR"] + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || !strings.Contains(string(body), "webhook/2") || strings.Contains(string(body), "canary") {
			t.Errorf("%s is %s, %v", path, body, err)
		}
	}
}

// TestWaitTargets_equalURLs: two URLs differ only in their queries, which their records do not
// contain. Each target has its own record.
func TestWaitTargets_equalURLs(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	var calls [3]atomic.Int64 // by the query
	var refuse atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "2" && refuse.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		calls[r.URL.RawQuery[0]-'0'].Add(1)
	}))
	defer app.Close()
	r := newReplica(t, s, "app", st.Env{"SECRETSYNC_WEBHOOK_URL": app.URL + "/?1," + app.URL + "/?2"})
	refuse.Store(true)
	s.SetSecret("db", map[string]string{"password": "1"})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "3s").exits(1, "Pod app: webhook/2 is not notified yet")
	r.restart(s, nil)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "3s").exits(1, "Pod app: webhook/2 is not notified yet")
	refuse.Store(false)
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	if calls[1].Load() != 1 || calls[2].Load() != 1 {
		t.Errorf("got %d and %d calls, want one each", calls[1].Load(), calls[2].Load())
	}
}

// TestWaitTargets_lostRecords: after the loss of the records, all targets are pending.
func TestWaitTargets_lostRecords(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	r.app.Status.Store(http.StatusServiceUnavailable)
	r.run.Kill()
	if err := os.Remove(filepath.Join(r.dir, "..notified.json")); err != nil {
		t.Fatal(err)
	}
	r.restart(s, nil)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "2s").exits(1, "Pod app: webhook is not notified yet")
	r.app.Status.Store(http.StatusOK)
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	accepted(t, r.app, 1)
}

// TestWaitTargets_oneShot: the first publish, here of a one-shot container, writes a base record. At
// no start of the sidecar after it is a notification pending.
func TestWaitTargets_oneShot(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", st.Env{
		"SECRETSYNC_ONE_SHOT": "true", "SECRETSYNC_HTTP_ADDR": "", "SECRETSYNC_WEBHOOK_URL": "",
	})
	r.run.WaitExit(0, waitLimit)
	pod := newPod(t, s, "sidecar", newAddress(), oneSidecar)
	remove(t, s, "app")
	for range 2 {
		r.restart(s, st.Env{
			"SECRETSYNC_ONE_SHOT": "", "SECRETSYNC_HTTP_ADDR": pod.Status.PodIP + ":29808",
			"SECRETSYNC_WEBHOOK_URL": r.app.URL, "POD_NAME": pod.Name, "POD_UID": string(pod.UID),
		})
		startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	}
	accepted(t, r.app, 0)
}
