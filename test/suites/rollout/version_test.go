package rollout

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var errTooEarly = errors.New("too early")

// TestWaitVersion_changedBack: the data changes during the wait, and changes back.
func TestWaitVersion_changedBack(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.until("webhook is not notified")
	s.SetSecret("db", map[string]string{"password": "0"})
	s.SetSecret("db", map[string]string{"password": "1"})
	r.app.Status.Store(http.StatusOK)
	wait.exits(1, "its data changed after version")
}

// TestWaitVersion_metadata: a change of metadata does not end the wait, and the version of
// the caller's own patch remains valid.
func TestWaitVersion_metadata(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	patched := s.Get("db").ResourceVersion
	r.wait(t, "1")
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.until("webhook is not notified")
	s.SetSecret("db", map[string]string{"password": "1"}, "a=b")
	r.app.Status.Store(http.StatusOK)
	wait.exits(0, "all 1 Pods are on version "+patched)
	startWait(t, s, kubeconfig, "--direct", "--version", patched).exits(0, "all 1 Pods are on version "+patched)

	// A new process does not know whether the data changed in between.
	r.run.Kill()
	r.run = s.Start(r.env)
	startWait(t, s, kubeconfig, "--direct", "--version", patched, "--timeout", "2s").exits(1,
		"no sidecar knows whether the data changed")
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	s.SetSecret("db", map[string]string{"password": "2"})
	startWait(t, s, kubeconfig, "--direct", "--version", patched, "--timeout", "5s").exits(1)
	startWait(t, s, kubeconfig, "--direct", "--version", "99999999", "--timeout", "5s").exits(1, "does not exist")
}

// TestWaitVersion_gap: a sidecar that listed again after a gap does not know whether the data changed
// in the gap.
func TestWaitVersion_gap(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	wire := s.Wire()
	r := newReplica(t, s, "app", nil)
	before := s.Get("db").ResourceVersion
	wire.Cut()
	s.SetSecret("db", map[string]string{"password": "1"})
	s.SetSecret("db", map[string]string{"password": "0"})
	if err := wire.Mend(); err != nil {
		t.Fatal(err)
	}
	testsupport.EventuallyWithin(t, time.Minute, "the sidecar lists the Secret", func() error {
		if d, err := r.status(); err != nil || d.Secrets["db"].ResourceVersion != s.Get("db").ResourceVersion {
			return fmt.Errorf("got %+v, %v", d, err)
		}
		return nil
	})
	startWait(t, s, kubeconfig, "--direct", "--version", before, "--timeout", "5s").exits(1,
		"no sidecar knows whether the data changed")
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
}

// TestWaitVersion_changedFrom: the Secret is not written yet when the wait begins.
func TestWaitVersion_changedFrom(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", nil)
	before := s.Get("db").ResourceVersion
	wait := startWait(t, s, kubeconfig, "--direct", "--changed-from", before)
	wait.running(time.Second)
	s.SetSecret("db", map[string]string{"password": "0"}, "a=b")
	wait.running(time.Second)
	s.SetSecret("db", map[string]string{"password": "1"})
	after := s.Get("db").ResourceVersion
	wait.exits(0, "all 1 Pods are on version "+after)
	startWait(t, s, kubeconfig, "--direct", "--changed-from", before).exits(0, "all 1 Pods are on version "+after)
}

// sees waits until the sidecar has seen the current version.
func (r *replica) sees(t testing.TB, s *st.Scene) (db secretStatus) {
	t.Helper()
	testsupport.Eventually(t, "the sidecar sees the current version", func() error {
		d, err := r.status()
		if db = d.Secrets["db"]; err != nil || !d.Watches[0].Up || db.ResourceVersion != s.Get("db").ResourceVersion {
			return fmt.Errorf("got %+v, %v", d, err)
		}
		return nil
	})
	return db
}

func number(version string) (n int) {
	n, _ = strconv.Atoi(version)
	return n
}
