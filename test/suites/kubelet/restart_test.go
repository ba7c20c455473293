//go:build kubelet

package kubelet

import (
	"fmt"
	"maps"
	"os"
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
	s.SetPassword("0")
	s.Deploy(cases+"restart", func(p *corev1.PodTemplateSpec) {
		nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SPLAY", "0s")
	})
	for i := 1; i <= 4; i++ {
		s.Loaded("app", fmt.Sprint(i-1))
		wait(6 * time.Second) // a process younger than 5 s is not signaled
		s.SetPassword(fmt.Sprint(i))
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
	s.SetPassword("0")
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
	s.SetPassword("1")
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

// hardValues are values of a dotenv file with the characters that a parser could change.
var hardValues = map[string]string{
	"EMPTY": "", "SPACES": "  a b  ", "LINES": "-----BEGIN-----\n\n  a=b\n#c\n-----END-----\n", "RETURN": "a\rb\r",
	"SHELL": "$HOME $(id) `id` \\n \"q\" ${x} $(PASSWORD) $$", "UTF_8": "pässwörd", "_1": "# no comment",
	"LONG": strings.Repeat("x", 64<<10-1-len("LONG=''")),
}

// TestEnv_afterRestart: the kubelet reads the newest dotenv file when the container restarts.
// The environment of the new process contains each value of the Secret, unchanged.
func TestEnv_afterRestart(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	put := func(i int) map[string]string {
		data := maps.Clone(hardValues)
		data["PASSWORD"] = fmt.Sprint(i)
		s.SetSecret("db", data)
		return data
	}
	put(0)
	s.Deploy(cases+"env", func(p *corev1.PodTemplateSpec) {
		nodetest.Set(&p.Spec.InitContainers[0], "SECRETSYNC_SPLAY", "0s")
		app := &p.Spec.Containers[0]
		for key := range hardValues {
			source := &corev1.FileKeySelector{VolumeName: "secret-sync", Path: "db/db.env", Key: key}
			source.Optional = new(hardValues[key] == "") // the kubelet takes an empty value for a missing key
			app.Env = append(app.Env, corev1.EnvVar{Name: key, ValueFrom: &corev1.EnvVarSource{FileKeyRef: source}})
		}
	})
	for i := range 3 {
		data := put(i)
		nodetest.Until(t, "the environment of the app", func() error {
			got, err := environment(s, "app")
			for key, want := range data {
				if err == nil && got[key] != want {
					err = fmt.Errorf("%s: got %.80q, want %.80q", key, got[key], want)
				}
			}
			return err
		})
		if i < 2 {
			wait(6 * time.Second)
		}
	}
}

// environment returns the environment of the Pod's process with this name.
func environment(s *scene, comm string) (map[string]string, error) {
	pid, err := s.Process(comm)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	values := map[string]string{}
	for assignment := range strings.SplitSeq(string(data), "\x00") {
		name, value, _ := strings.Cut(assignment, "=")
		values[name] = value
	}
	return values, err
}
