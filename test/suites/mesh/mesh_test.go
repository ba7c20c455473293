//go:build programs

package mesh

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestMain uses a network namespace, so the rules of the tests change no network of the
// machine.
func TestMain(m *testing.M) {
	st.Main(m, st.Options{Namespaces: syscall.CLONE_NEWNET, Prepare: st.UseNetwork})
}

// start starts the sidecar as user. Root is required, because root of a user namespace has
// no other user.
func start(t *testing.T, env st.Env) (*st.Scene, *st.Run) {
	t.Helper()
	if !st.RealRoot() {
		t.Skip("needs root to change the user")
	}
	s := st.New(t, env)
	s.SetSecret("db", map[string]string{"password": "one"})
	return s, s.StartAs(user, st.Env{"KUBECONFIG": st.CopyKubeconfig(t, s.Kubeconfig, "")})
}

// blocked checks that the sidecar cannot reach the API server and publishes nothing.
func blocked(s *st.Scene, r *st.Run) {
	s.T.Helper()
	r.WaitLog("connection refused")
	st.Throughout(s.T, 2*time.Second, "no files", func() error {
		select {
		case <-r.Done():
			return fmt.Errorf("the sidecar ended: %s", r.State())
		default:
		}
		if s.Ready() == nil {
			return errors.New("ready")
		}
		return s.CheckFiles(nil)
	})
}

// TestInit_beforeProxy: an init container does not finish before the proxy runs. In a Pod
// whose proxy is an ordinary container, the proxy never starts.
func TestInit_beforeProxy(t *testing.T) {
	proxy := childprocess.FreeAddr(t)
	redirect(t, proxy)
	s, r := start(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_ONE_SHOT": "true"})
	blocked(s, r)
	began := time.Now()
	forwarded := startProxy(t, proxy)
	r.WaitExit(0, time.Minute)
	s.WaitFiles(map[string]string{"db/password": "one"})
	if forwarded.Load() == 0 {
		t.Error("no connection used the proxy")
	}
	t.Logf("ended %s after the start of the proxy", time.Since(began).Round(time.Millisecond))
}

// TestInit_portExcluded: if the redirect excludes the port of the API server, an init
// container requires no proxy.
func TestInit_portExcluded(t *testing.T) {
	redirect(t, childprocess.FreeAddr(t), apiPort(t))
	began := time.Now()
	s, r := start(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_ONE_SHOT": "true"})
	r.WaitExit(0, 10*time.Second)
	s.WaitFiles(map[string]string{"db/password": "one"})
	t.Logf("ended %s after its start", time.Since(began).Round(time.Millisecond))
}

// TestSidecar_beforeProxy: the startup probe of a native sidecar fails before the proxy runs,
// so the containers after the sidecar do not start. Later, the sidecar follows changes
// through the proxy.
func TestSidecar_beforeProxy(t *testing.T) {
	proxy := childprocess.FreeAddr(t)
	redirect(t, proxy)
	s, r := start(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	blocked(s, r)
	startProxy(t, proxy)
	r.WaitReady()
	s.WaitFiles(map[string]string{"db/password": "one"})
	s.SetSecret("db", map[string]string{"password": "two"})
	s.WaitFiles(map[string]string{"db/password": "two"})
	r.Stop()
}

// TestSidecar_redirectLater: a sidecar that started before the redirect is ready. Its connection
// may break, because the kernel may redirect packets of a connection that it did not track
// before. The sidecar then follows changes through the proxy. Istio's init container creates
// the redirect after the containers before it.
func TestSidecar_redirectLater(t *testing.T) {
	s, r := start(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.WaitFiles(map[string]string{"db/password": "one"})
	proxy := childprocess.FreeAddr(t)
	redirect(t, proxy)
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	s.SetSecret("db", map[string]string{"password": "two"})
	startProxy(t, proxy)
	s.WaitFiles(map[string]string{"db/password": "two"})
	r.Stop()
}
