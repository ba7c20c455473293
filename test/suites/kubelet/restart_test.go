//go:build kubelet

package kubelet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/test/harness/nodetest"
)

// TestRestart: TERM makes the kubelet start the app again, on the new files. The log
// has what its crash backoff does to one rotation after the other.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.PutPassword("0")
	s.Deploy(cases+"restart", func(p *corev1.PodTemplateSpec) { nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SPLAY", "0s") })
	for i := 1; i <= 4; i++ {
		s.Loaded("app", fmt.Sprint(i-1))
		wait(6 * time.Second) // a process younger than 5 s is not signalled
		s.PutPassword(fmt.Sprint(i))
		down := nodetest.Until(t, "the app ends", func() error {
			if _, err := nodetest.Ask(s.Addresses["app"]); err == nil {
				return fmt.Errorf("it runs")
			}
			return nil
		})
		began := time.Now()
		if a := s.Loaded("app", fmt.Sprint(i)); a.By != "start" {
			t.Errorf("got the password by %s, want by start", a.By)
		}
		t.Logf("rotation %d: down after %s, for %s", i, down.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
}

// TestSplay: replicas do not go down at once.
func TestSplay(t *testing.T) {
	t.Parallel()
	const replicas = 3
	s := newScene(t)
	s.PutPassword("0")
	s.rbac()
	var addresses []string
	for i := range replicas {
		s.Apply([]byte(strings.ReplaceAll(deployment, "name: app}\nspec", fmt.Sprintf("name: app-%d}\nspec", i))), func(p *corev1.PodTemplateSpec) {
			p.Spec.ShareProcessNamespace = new(true)
			nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_PROCESS", "app")
			nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SIGNAL", "TERM")
			nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SPLAY", "20s")
			p.Labels["app"] = "app" // the selector's
		})
		addresses = append(addresses, s.Addresses["app"])
	}
	for _, addr := range addresses {
		s.Addresses["app"] = addr
		s.Loaded("app", "0")
	}
	wait(6 * time.Second)
	s.PutPassword("1")
	most, changed, began := 0, 0, time.Now()
	for changed < replicas {
		if time.Since(began) > nodetest.Patience {
			t.Fatalf("%d of %d replicas have the new password", changed, replicas)
		}
		down := 0
		changed = 0
		for _, addr := range addresses {
			switch a, err := nodetest.Ask(addr); {
			case err != nil:
				down++
			case a.Loaded["password"] == "1":
				changed++
			}
		}
		most = max(most, down)
		wait(20 * time.Millisecond)
	}
	t.Logf("%d replicas changed in %s, at most %d down at once", replicas, time.Since(began).Round(100*time.Millisecond), most)
	if most == replicas {
		t.Errorf("all replicas were down at once")
	}
}

// TestEnv: the kubelet reads the newest file when the container starts again.
func TestEnv(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	put := func(i int) { s.Put("db", map[string]string{"app.env": fmt.Sprintf("PASSWORD='%d'\n", i)}) }
	put(0)
	s.Deploy(cases+"env", func(p *corev1.PodTemplateSpec) {
		nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SPLAY", "0s")
		nodetest.Set(&p.Spec.Containers[0], "READER_ENV", "PASSWORD")
	})
	for i := range 3 {
		put(i)
		nodetest.Until(t, "the app has the variable", func() error {
			a, err := nodetest.Ask(s.Addresses["app"])
			if err == nil && a.Env != fmt.Sprint(i) {
				err = fmt.Errorf("got %q, want %d", a.Env, i)
			}
			return err
		})
		if i < 2 {
			wait(6 * time.Second)
		}
	}
}
