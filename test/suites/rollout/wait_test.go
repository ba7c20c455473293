package rollout

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestWait: `wait` succeeds after every app was notified, not earlier.
func TestWait(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	var replicas []*replica
	for i := range 3 {
		replicas = append(replicas, newReplica(t, s, fmt.Sprint("app-", i), nil))
	}
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 3 Pods are on version")

	slow := replicas[1]
	slow.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	wait := startWait(t, s, kubeconfig, "--direct")
	for _, r := range replicas {
		r.wait(t, "1")
	}
	wait.running(time.Second)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "300ms").exits(1, "Pod app-1: webhook is not notified yet: ",
		"503")
	slow.app.Status.Store(http.StatusOK)
	wait.exits(0, "2 of 3 Pods are done: waiting for app-1", "all 3 Pods are on version")
	if got := slow.app.Accepted(); len(got) != 1 {
		t.Errorf("the slow app accepted %d notifications before the yes, want 1", len(got))
	}

	// A change of labels has nothing to write, and is seen.
	s.SetSecret("db", map[string]string{"password": "1"}, "a=b")
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 3 Pods")
}

// TestWait_json: the document for machines, at a yes and at a no.
func TestWait_json(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	for status, want := range map[int]bool{http.StatusOK: true, http.StatusBadGateway: false} {
		r.app.Status.Store(int64(status))
		s.SetSecret("db", map[string]string{"password": fmt.Sprint(status)})
		wait := startWait(t, s, kubeconfig, "--direct", "-o", "json", "--timeout", "5s")
		code := 1
		if want {
			code = 0
		}
		wait.exits(code)
		var got struct {
			Done     bool
			Versions []struct{ Namespace, Secret, UID, ResourceVersion string }
			Pods     []struct {
				Name, Reason string
				Done         bool
			}
			Error string
		}
		if err := json.Unmarshal([]byte(wait.out.String()), &got); err != nil {
			t.Fatalf("%v:\n%s", err, wait.out.String())
		}
		if got.Done != want || len(got.Pods) != 1 || got.Pods[0].Done != want || (got.Pods[0].Reason == "") != want ||
			(got.Error == "") != want || len(got.Versions) != 1 || got.Versions[0].Namespace != s.Namespace ||
			got.Versions[0].Secret != "db" || got.Versions[0].UID == "" {
			t.Errorf("status %d: got %+v", status, got)
		}
	}
}

// TestWait_countsPods: which Pods hold a yes back.
func TestWait_countsPods(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "300ms").exits(1, "no Pod counts")
	newReplica(t, s, "app", nil)

	newPod(t, s, "other", newAddress(), nil) // it has no sidecar
	startWait(t, s, kubeconfig, "--direct").exits(1, "Pod other: no sidecar watches the Secret", "--ignore-others")
	startWait(t, s, kubeconfig, "--direct", "--ignore-others").exits(0, "all 1 Pods")
	remove(t, s, "other")

	newPod(t, s, "unreachable", newAddress(), oneSidecar) // nobody listens there
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.running(500 * time.Millisecond)
	startWait(t, s, kubeconfig, "--direct", "--timeout", "300ms").
		exits(1, "Pod unreachable: its sidecar does not answer")
	remove(t, s, "unreachable")
	wait.exits(0, "all 1 Pods")
}

// TestWait_podsThatAppear: `wait` also asks a Pod started during the wait.
func TestWait_podsThatAppear(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	first := newReplica(t, s, "first", nil)
	first.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	first.wait(t, "1")
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.running(300 * time.Millisecond)
	newPod(t, s, "second", newAddress(), oneSidecar)
	first.app.Status.Store(http.StatusOK)
	wait.running(time.Second)
	remove(t, s, "second")
	wait.exits(0, "all 1 Pods")
}

// TestWait_signalGrace: a signal is delivered, and the yes comes later.
func TestWait_signalGrace(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", st.Env{"SECRETSYNC_WEBHOOK_URL": "", "SECRETSYNC_PROCESS": "nobody-is-called-so"})
	wait := startWait(t, s, kubeconfig, "--direct", "--signal-grace", "2s")
	wait.running(1500 * time.Millisecond)
	wait.exits(0)
	startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s", "--timeout", "4s").exits(0) // less than the default
}

// TestWait_secretRecreated: versions of another object say nothing.
func TestWait_secretRecreated(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.until("webhook is not notified")
	s.Delete("db")
	s.SetSecret("db", map[string]string{"password": "1"})
	r.app.Status.Store(http.StatusOK)
	wait.exits(1, "Secret "+s.Namespace+"/db: it was deleted and created again")
}

// TestWait_role: `rbac --wait` prints the required permissions, and no more.
func TestWait_role(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", nil)
	binding := "secret-sync-wait-waiter"
	roles := st.ControlPlane().Client.RbacV1()
	role, err := roles.Roles(s.Namespace).Get(t.Context(), binding, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		if rule.Resources[0] == "secrets" &&
			(len(rule.ResourceNames) != 1 || len(rule.Verbs) != 1 || rule.Verbs[0] != "get") {
			t.Errorf("got a rule for Secrets of %v %v", rule.ResourceNames, rule.Verbs)
		}
	}
	startWait(t, s, kubeconfig, "--direct").exits(0)
	if err := roles.RoleBindings(s.Namespace).Delete(t.Context(), binding, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	testsupport.Eventually(t, "the API server knows", func() error {
		wait := startWait(t, s, kubeconfig, "--direct", "--timeout", "5s")
		if err := <-wait.ended; err == nil {
			return fmt.Errorf("it is allowed")
		}
		wait.ended <- nil
		return nil
	})
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.exits(1, "forbidden")
}

// TestWait_usage: all usage errors at once, and exit code 2.
func TestWait_usage(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	for _, c := range []struct {
		args  []string
		texts []string
	}{
		{[]string{"wait"}, []string{"--secret is missing"}},
		{[]string{"wait", "--secret", "db", "--selector", "a in (", "-o", "yaml"}, []string{"--selector", `-o "yaml"`}},
		{[]string{"wait", "--secret", "db", "--selector", "a=b", "--timeout", "0s"}, []string{"--timeout"}},
		{[]string{"wait", "--secret", "db", "--version", "x", "--changed-from", "1", "-n", "a", "-n", "b",
			"--start-grace",
			"-1s"},
			[]string{`--version "x"`, "exclude each other", "use -n once", "--start-grace must not be negative"}},
		{[]string{"wait", "--sekret", "db"}, []string{"sekret", "-signal-grace"}},
		{[]string{"wait", "db"}, []string{`unexpected argument "db"`}},
		{[]string{"rbac", "--wait", "default"}, []string{`service account: Invalid value: "default"`}},
		{[]string{"status", "-o", "xml"}, []string{"json or text"}},
	} {
		run := s.Start(st.Env{"SECRETSYNC_DIR": os.TempDir()}, c.args...)
		run.WaitExit(2, testsupport.Patience)
		for _, text := range c.texts {
			run.WaitLog(text)
		}
	}
}

// TestWait_namespaces: with -n twice, every namespace must be done. If the account cannot read
// one of them, the wait fails.
func TestWait_namespaces(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	other, _ := newScene(t)
	newReplica(t, s, "app", nil)
	r := newReplica(t, other, "app", nil)
	admin := st.ControlPlane().Kubeconfig()
	both := []string{"--direct", "-n", other.Namespace}
	startWait(t, s, admin, both...).exits(0, "all 2 Pods are on version", "Secret "+s.Namespace+"/db",
		"Secret "+other.Namespace+"/db")

	r.app.Status.Store(http.StatusServiceUnavailable)
	other.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	wait := startWait(t, s, admin, both...)
	wait.until("1 of 2 Pods are done")
	wait.running(300 * time.Millisecond)
	r.app.Status.Store(http.StatusOK)
	wait.exits(0, "all 2 Pods")

	remove(t, other, "app") // the namespace contains no other Pod
	startWait(t, s, admin, append(both, "--timeout", "1s")...).exits(1, "namespace "+other.Namespace+": no Pod counts")
	startWait(t, s, kubeconfig, append(both, "--timeout", "45s")...).exits(1, "forbidden", "for 30s")
}

// TestWaitOutage_atStart: the API server is unavailable when the wait begins, and returns. Not
// in parallel: it stops the API server.
func TestWaitOutage_atStart(t *testing.T) {
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", nil)
	st.ControlPlane().StopAPIServer()
	started := false
	start := func() {
		if started = true; st.ControlPlane().StartAPIServer(t.Context()) != nil {
			t.Fatal("the API server does not start again")
		}
	}
	defer func() {
		if !started {
			start()
		}
	}()
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.until("no connection")
	wait.running(time.Second)
	start()
	wait.exits(0, "all 1 Pods")
}
