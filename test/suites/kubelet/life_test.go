//go:build kubelet

package kubelet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/test/harness/nodetest"
)

// TestStart_afterTheFiles: the app does not start without the Secret. When it starts, the
// files already exist.
func TestStart_afterTheFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Deploy(cases+"webhook", nil)
	nodetest.Until(t, "the sidecar", func() error { _, err := s.Process("secret-sync"); return err })
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); wait(100 * time.Millisecond) {
		if _, err := nodetest.Ask(s.Addresses["app"]); err == nil {
			t.Fatal("the app started before its files existed")
		}
	}
	s.SetPassword("0")
	if a := s.Loaded("app", "0"); a.Start["password"] != "0" || a.By != "start" {
		t.Errorf("read %v by %s, want the files at the start", a.Start, a.By)
	}
}

// TestDelete_endsQuickly: the sidecar ends after the app and does not delay the deletion.
func TestDelete_endsQuickly(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.SetPassword("0")
	s.Deploy(cases+"webhook", nil)
	s.Loaded("app", "0")
	pod, err := s.Pod()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	deployments := cluster.Client.AppsV1().Deployments(s.Namespace)
	if err := deployments.Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	nodetest.Until(t, "the end of the Pod", func() error {
		pods := cluster.Client.CoreV1().Pods(s.Namespace)
		if _, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{}); err == nil {
			return fmt.Errorf("the Pod exists")
		}
		return nil
	})
	if took := time.Since(began); took > 10*time.Second { // the grace period is 30 s
		t.Errorf("the Pod took %s to end", took)
	} else {
		t.Logf("the Pod was gone after %s", took.Round(100*time.Millisecond))
	}
}

// TestSubPath_neverChanges: a subPath mount never changes, as the documentation warns. The
// mount of the volume in the same container does change.
func TestSubPath_neverChanges(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.SetPassword("0")
	s.rbac()
	s.Apply([]byte(deployment), func(p *corev1.PodTemplateSpec) {
		nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_LAYOUT", "flat")
		app := &p.Spec.Containers[0]
		app.VolumeMounts = append(app.VolumeMounts,
			corev1.VolumeMount{Name: "secrets", MountPath: "/one/password", SubPath: "password", ReadOnly: true})
		nodetest.Set(app, "READER_DIR", "/secrets")
		nodetest.Set(app, "READER_FOLLOW", "/secrets")
		nodetest.Set(app, "READER_FILES", "/one/password,/secrets/password")
	})
	for i := 1; i <= 3; i++ {
		s.Loaded("app", "0")
		s.SetPassword(fmt.Sprint(i))
		s.follows("app", "/secrets", fmt.Sprint(i))
	}
	a, err := nodetest.Ask(s.Addresses["app"])
	if err != nil || a.Now["/secrets/password"] != "3" || a.Now["/one/password"] != "0" {
		t.Errorf("read %v, %v, want 3 in the volume and still 0 in the subPath mount", a.Now, err)
	}
}

// TestVolume_full: if a generation does not fit, the last generation stays in place. A
// smaller generation is published.
func TestVolume_full(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.SetPassword("0")
	s.rbac()
	s.Apply([]byte(deployment), func(p *corev1.PodTemplateSpec) {
		quantity := p.Spec.Volumes[0].EmptyDir.SizeLimit
		*quantity = *quantityOf("512Ki")
	})
	s.Loaded("app", "0")
	s.SetSecret("db", map[string]string{"username": "app", "password": "1", "blob": strings.Repeat("x", 900_000)})
	nodetest.Until(t, "the metric of the full volume", func() error {
		return s.Metric(`secretsync_publish_failures_total{reason="no_space"}`)
	})
	a, err := nodetest.Ask(s.Addresses["app"])
	if err != nil || a.Seen["/secrets/db"][len(a.Seen["/secrets/db"])-1].Password != "0" {
		t.Errorf("read %v, %v while the volume is full, want the last complete files", a.Seen, err)
	}
	s.SetPassword("2")
	s.follows("app", "/secrets/db", "2")
}

// TestOutOfMemory_recovers: the kernel kills the sidecar at its memory limit, and the app
// keeps its files. The sidecar recovers when the Secret is smaller.
func TestOutOfMemory_recovers(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.SetPassword("0")
	s.rbac()
	s.Apply([]byte(deployment), func(p *corev1.PodTemplateSpec) {
		c := &p.Spec.InitContainers[0]
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: *quantityOf("12Mi")}
		c.Resources.Requests = c.Resources.Limits
	})
	pid := s.Loaded("app", "0").PID
	last := 0
	for i := 1; s.Restarts("secret-sync") == 0; i++ {
		if i > 60 {
			t.Fatal("the sidecar was never killed")
		}
		s.SetSecret("db", map[string]string{
			"username": "app", "password": fmt.Sprint(i), "blob": strings.Repeat(string(rune('a'+i%26)), 1_000_000),
		})
		last = i
		wait(300 * time.Millisecond)
	}
	a, err := nodetest.Ask(s.Addresses["app"])
	if err != nil || a.PID != pid || len(a.Seen["/secrets/db"]) == 0 {
		t.Fatalf("got %+v, %v, want the same process of the app with files", a, err)
	}
	seen := a.Seen["/secrets/db"]
	t.Logf("killed at update %d; the app had read %s", last, seen[len(seen)-1].Password)
	s.SetPassword("end")
	s.follows("app", "/secrets/db", "end")
	t.Logf("%d restarts", s.Restarts("secret-sync"))
}
