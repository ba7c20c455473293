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

// TestRestart_afterTERM: after TERM the kubelet restarts the app, which reads the new files.
// The test logs the effect of the crash backoff on repeated rotations.
func TestRestart_afterTERM(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.PutPassword("0")
	s.Deploy(cases+"restart", func(p *corev1.PodTemplateSpec) {
		nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SPLAY", "0s")
	})
	for i := 1; i <= 4; i++ {
		s.Loaded("app", fmt.Sprint(i-1))
		wait(6 * time.Second) // a process younger than 5 s is not signaled
		s.PutPassword(fmt.Sprint(i))
		down := nodetest.Until(t, "the end of the app", func() error {
			if _, err := nodetest.Ask(s.Addresses["app"]); err == nil {
				return fmt.Errorf("the app is running")
			}
			return nil
		})
		began := time.Now()
		if a := s.Loaded("app", fmt.Sprint(i)); a.By != "start" {
			t.Errorf("loaded the password by %s, want start", a.By)
		}
		t.Logf("rotation %d: ended after %s, down for %s",
			i, down.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
}

// TestSplay_replicas: the replicas do not restart at the same time.
func TestSplay_replicas(t *testing.T) {
	t.Parallel()
	const replicas = 3
	s := newScene(t)
	s.PutPassword("0")
	s.rbac()
	var addresses []string
	for i := range replicas {
		manifest := strings.ReplaceAll(deployment, "name: app}\nspec", fmt.Sprintf("name: app-%d}\nspec", i))
		s.Apply([]byte(manifest), func(p *corev1.PodTemplateSpec) {
			p.Spec.ShareProcessNamespace = new(true)
			nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_PROCESS", "app")
			nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SIGNAL", "TERM")
			nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SPLAY", "20s")
			p.Labels["app"] = "app" // the label of the selector
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
			t.Fatalf("%d of %d replicas loaded the new password", changed, replicas)
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
	t.Logf("%d replicas changed in %s, at most %d down at the same time",
		replicas, time.Since(began).Round(100*time.Millisecond), most)
	if most == replicas {
		t.Errorf("all replicas were down at the same time")
	}
}

// TestEnv_afterRestart: the kubelet reads the newest file when the container restarts.
func TestEnv_afterRestart(t *testing.T) {
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
		nodetest.Until(t, "the variable of the app", func() error {
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
