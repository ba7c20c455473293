//go:build programs

package servers

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
)

// usersOf returns the Secret of the case redis, with a password for the user app.
func usersOf(t *testing.T, password string) *corev1.Secret {
	t.Helper()
	text, err := os.ReadFile("../../../examples/cases/redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	users := strings.Replace(string(text), ">first", ">"+password, 1)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "redis"}, StringData: map[string]string{"users.acl": users},
	}
}

// startRedis starts the case redis with the password "secret0" of the user app.
func startRedis(t *testing.T) (*server, *podtest.Program) {
	t.Helper()
	s := newServer(t, "redis")
	s.create(usersOf(t, "secret0"))
	s.startSidecar(nobody, nil)
	args := append(s.args, "--port", s.port, "--bind", "127.0.0.1")
	g := s.StartProgram(podtest.Need(t, "/usr/bin/redis-server"), args...)
	g.WaitReady("Ready to accept connections")
	return s, g
}

// ask returns the answer of Redis to the user with this password.
func (s *server) ask(user, password string, command ...string) string {
	s.T.Helper()
	args := append([]string{"-p", s.port, "--no-auth-warning", "--user", user, "--pass", password}, command...)
	var out []byte
	testsupport.Eventually(s.T, "an answer; ACL LOAD closes connections", func() (err error) {
		out, err = exec.Command(podtest.Need(s.T, "/usr/bin/redis-cli"), args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("redis-cli: %w\n%s", err, out)
		}
		return err
	})
	return strings.TrimSpace(string(out))
}

// TestRedis_password changes the password of the user app ten times. Directly after each
// notification, Redis must accept the new password and reject the old password.
func TestRedis_password(t *testing.T) {
	t.Parallel()
	s, g := startRedis(t)
	for i := range 10 {
		before, now := fmt.Sprint("secret", i), fmt.Sprint("secret", i+1)
		if got := s.ask("app", before, "PING"); got != "PONG" {
			t.Fatalf("password %d before the rotation: got %q, want PONG", i, got)
		}
		s.putAndWait(usersOf(t, now))
		if got := s.ask("app", now, "PING"); got != "PONG" {
			t.Errorf("the new password %d: got %q, want PONG", i+1, got)
		}
		if got := s.ask("app", before, "PING"); !strings.Contains(got, "WRONGPASS") {
			t.Errorf("the old password %d: got %q, want WRONGPASS", i, got)
		}
	}
	if got := s.ask("loader", "any", "ACL", "LIST"); !strings.Contains(got, "no permissions") {
		t.Errorf("loader: ACL LIST: got %q, want an error", got)
	}
	g.CheckNoneDied()
}

// TestRedis_brokenFile: Redis must keep its users if a file is broken, and the sidecar
// must repeat the command instead of reporting success.
func TestRedis_brokenFile(t *testing.T) {
	t.Parallel()
	s, _ := startRedis(t)
	s.update(usersOf(t, "x nonsense"))
	s.sidecar.WaitLog("exit status 1")
	if got := s.ask("app", "secret0", "PING"); got != "PONG" {
		t.Errorf("the old password: got %q, want PONG", got)
	}
	s.putAndWait(usersOf(t, "secret1"))
	if got := s.ask("app", "secret1", "PING"); got != "PONG" {
		t.Errorf("the corrected password: got %q, want PONG", got)
	}
}
